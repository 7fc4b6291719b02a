"""The test cards."""

from __future__ import annotations

from isoswitch.simulators.cards import CARDS, NORTH, SOUTH, cards_of, find_card


def _luhn_total(digits: str) -> int:
    """Sum the digits as ISO 7812-1, annex B says."""
    doubled = [str(int(digit) * 2) for digit in digits[-2::-2]]
    return sum(map(int, "".join(doubled) + digits[-1::-2]))


def test_every_card_number_has_a_valid_check_digit() -> None:
    wrong = [
        name for name, card in CARDS.items() if _luhn_total(card.pan.reveal()) % 10
    ]
    assert wrong == []


def test_no_two_cards_share_a_number() -> None:
    assert all(find_card(card.pan) is card for card in CARDS.values())


def test_every_card_belongs_to_one_of_the_two_issuers() -> None:
    assert len(cards_of(NORTH)) + len(cards_of(SOUTH)) == len(CARDS)


def test_no_card_shows_its_number_or_pin() -> None:
    shown = repr(CARDS)
    assert not any(card.pan.reveal() in shown for card in CARDS.values())
    assert "Pin(***)" in shown

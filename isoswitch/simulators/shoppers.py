"""Shoppers who pay without a card: with telephones, wallets, and merchants' codes.

Who pays a merchant's code, and the merchant who gives money back, speak to the API of a
node that runs, and keep a `Receipt` of what they were told, for the auditor. A node
that dies, or a store that fails, leaves them without an answer: then they know nothing,
as somebody whose telephone has lost its network.
"""

from __future__ import annotations

from random import Random

import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.simulators.beliefs import Receipt
from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.devices import PROFILES
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.token_service import TokenService
from isoswitch.simulators.wallet import Wallet
from isoswitch.simulators.world import (
    ISSUERS,
    MERCHANT,
    PAYER_ACCOUNT,
    PAYER_BANK,
    World,
)
from isoswitch.store.port import StoredTransaction, TransactionState
from isoswitch.store.rows import PaymentCode
from isoswitch.switch.codes import Codes, CodeWish, PayWish, RefundWish
from isoswitch.switch.refusals import Refused

CURRENCY = "978"
VALID_S = 120.0


# Which cards are in telephones and watches, and of what kind those are.
ENROLLED = (
    *(("visa-ok", "apple-pay-like"), ("visa-ok", "apple-pay-like")),
    *(("mc-ok", "google-pay-like"), ("mc-late", "google-pay-like")),
)


class Shoppers:
    """Everybody who pays without a card in a world, and the merchant.

    ``devices`` are what they tap with. ``tills`` lets one at a time manage a terminal,
    ``settled`` counts what it believes of closed batches.
    """

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self.settled: dict[str, int] = {}
        self.tills = {name: trio.Lock() for name in world.terminals}
        services = {
            name: TokenService(random.randbytes(16), random=random) for name in ISSUERS
        }
        for name, service in services.items():
            world.issuers[name].tokens = service
        cards = [(CARDS[name], PROFILES[profile]) for name, profile in ENROLLED]
        self.devices = [
            services[card.issuer].enroll(card, profile) for card, profile in cards
        ]

    @property
    def wallet(self) -> Wallet:
        """The wallet that gives payment codes to its shoppers."""
        return self._world.wallet

    def draw_till(self, random: Random) -> Terminal:
        """Draw a terminal."""
        return random.choice(list(self._world.terminals.values()))

    async def show_code(self, random: Random, amount_minor: int) -> PaymentCode | None:
        """Let the merchant show a code; ``amount_minor`` 0 for a static one."""
        codes = self._draw_codes(random)
        if codes is None:
            return None
        wish = CodeWish(
            merchant_id=MERCHANT.id,
            amount_minor=amount_minor,
            currency=CURRENCY,
            valid_s=VALID_S if amount_minor else 0.0,
        )
        try:
            made = await codes.create(wish)
        except StoreUnavailable:
            return None
        return made if isinstance(made, PaymentCode) else None

    async def pay(
        self, random: Random, code: PaymentCode, amount_minor: int
    ) -> Receipt | None:
        """Pay a code; None when there is nobody to ask."""
        return await self.pay_text(random, code.text, amount_minor, code_id=code.id)

    async def pay_text(
        self, random: Random, text: str, amount_minor: int, *, code_id: str
    ) -> Receipt | None:
        """Pay a code by what it says; None when there is nobody to ask."""
        codes = self._draw_codes(random)
        if codes is None:
            return None
        wish = PayWish(
            text=text,
            wallet="purse",
            debtor="A. Payer",
            debtor_account=PAYER_ACCOUNT,
            debtor_agent=PAYER_BANK,
            amount=Money(amount_minor, CURRENCY),
        )
        receipt = Receipt(
            kind=Kind.PURCHASE, amount_minor=amount_minor, code_id=code_id
        )
        self._world.receipts.append(receipt)
        try:
            return _filled(receipt, await codes.pay(wish))
        except StoreUnavailable:
            return receipt

    async def give_back(
        self, random: Random, payment: Receipt, amount_minor: int
    ) -> Receipt | None:
        """Let the merchant give a payment back, or a part of it."""
        codes = self._draw_codes(random)
        if codes is None:
            return None
        receipt = Receipt(
            kind=Kind.REFUND, amount_minor=amount_minor, code_id=payment.code_id
        )
        self._world.receipts.append(receipt)
        wish = RefundWish(
            merchant_id=MERCHANT.id,
            payment_id=payment.transaction_id,
            amount_minor=amount_minor,
        )
        try:
            return _filled(receipt, await codes.refund(wish))
        except StoreUnavailable:
            return receipt

    def _draw_codes(self, random: Random) -> Codes | None:
        running = [node.switch for node in self._world.nodes if node.switch]
        return random.choice(running).codes if running else None


def _filled(receipt: Receipt, answer: StoredTransaction | Refused) -> Receipt:
    """Write down what was told."""
    if isinstance(answer, Refused):
        receipt.refused = answer.reason
        return receipt
    receipt.transaction_id = answer.id
    if answer.state is TransactionState.CLOSED:
        receipt.is_paid = load_outcome(answer.outcome).is_approved
    return receipt

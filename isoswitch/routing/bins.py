"""BIN ranges: which row of the table a card falls into; the most specific one wins.

A row covers one prefix of 6 to 11 digits, or a range of such prefixes. Filled up to
eleven digits, every row is an interval, and intervals nest or lie apart. They are cut
into segments that lie side by side, each with its innermost row, so that a look-up is
one binary search whatever the size of the table.

    row 411111         |-------------------------------|
    row 41111125..29           |-------|
    segments           |  411111       | 41111125..29 | 411111  |
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from isoswitch.codecs.canonical.secrets import Pan

DIGITS_MAX = 11
# What may be written down beside the last four digits of a card.
SHOWN_DIGITS_MAX = 8
_DIGITS = re.compile(r"(\d{6,11})(?:\.\.(\d{6,11}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers from ``low`` to ``high``, eleven digits each; prints none of them."""

    low: int = field(repr=False)
    high: int = field(repr=False)

    @staticmethod
    def of_digits(low: str, high: str = "") -> Span:
        """Give every number that begins with these digits, or in a range of them."""
        return Span(
            int(low.ljust(DIGITS_MAX, "0")), int((high or low).ljust(DIGITS_MAX, "9"))
        )

    @staticmethod
    def of_card(pan: Pan) -> Span:
        """Give the place of a card: one number, when the card has eleven digits."""
        return Span.of_digits(pan.lookup_digits)

    def common(self, other: Span) -> Span | None:
        """Give the numbers that are in both; None when there are none."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return Span(low, high) if low <= high else None

    def __contains__(self, other: Span) -> bool:
        return self.low <= other.low and other.high <= self.high


EVERYTHING = Span(0, 10**DIGITS_MAX - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BinRow:
    """The cards of one BIN: who decides them, and what rules may ask about them.

    ``digits`` is a prefix or a range such as ``"411111..411119"``; ``alternate`` is
    asked when ``primary`` cannot be. ``name`` is what is shown and written down, and
    may be left out where the digits themselves may be. ``country`` is the issuer's,
    ISO 3166 numeric; ``stand_in`` names a profile. ``line`` is where the row stands in
    its file, 0 for the configuration itself.
    """

    digits: str
    primary: str
    alternate: str = ""
    name: str = ""
    country: str = ""
    group: str = ""
    stand_in: str = ""
    line: int = 0

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The endpoints that decide these cards, in order."""
        return (self.primary, self.alternate) if self.alternate else (self.primary,)

    @property
    def label(self) -> str:
        """What names this row in records and to people."""
        return self.name or self.digits


@dataclass(frozen=True, slots=True, kw_only=True)
class BinProblem:
    """One thing wrong with a row; ``line`` 0 stands for the configuration itself."""

    line: int
    digits: str
    what: str
    fix: str


class BinsRefused(ValueError):
    """Rows that make no table, with everything that is wrong with them."""

    def __init__(self, problems: Sequence[BinProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.what for problem in problems))


class BinTable:
    """Finds the row of a card.

    Raises
    ------
    BinsRefused
        Rows are malformed, stand twice, or overlap without one lying in the other.

    Examples
    --------
    >>> table = BinTable([
    ...     BinRow(digits="411111", primary="north"),
    ...     BinRow(digits="41111125..41111129", primary="south"),
    ... ])
    >>> table.find(Span.of_digits("4111112700")).label
    '41111125..41111129'
    >>> table.find(Span.of_digits("41111199")).label
    '411111'
    """

    def __init__(self, rows: Iterable[BinRow]) -> None:
        self._starts: list[int] = [0]
        self._rows: list[BinRow | None] = [None]
        self._holders: dict[str, BinRow] = {}
        self._count = 0
        spans, problems = _spans(rows)
        problems += self._cut(spans)
        if problems:
            raise BinsRefused(problems)

    def __len__(self) -> int:
        return self._count

    def rows(self) -> dict[str, BinRow]:
        """Give all rows by their digits, in no order."""
        given = [*self._rows, *self._holders.values()]
        return {row.digits: row for row in given if row is not None}

    def find(self, span: Span) -> BinRow | None:
        """Find the most specific row that covers all of a span."""
        row = self._rows[bisect_right(self._starts, span.low) - 1]
        if span.low == span.high:
            return row
        while row is not None and span not in row_span(row):
            row = self._holders.get(row.label)
        return row

    def segments(self, span: Span) -> Iterator[tuple[Span, BinRow | None]]:
        """Give the parts of a span, each with its most specific row."""
        place = bisect_right(self._starts, span.low) - 1
        while place < len(self._starts) and self._starts[place] <= span.high:
            after = place + 1
            is_last = after == len(self._starts)
            end = EVERYTHING.high if is_last else self._starts[after] - 1
            part = Span(self._starts[place], end).common(span)
            assert part is not None, "a segment that begins inside has a part inside"
            yield part, self._rows[place]
            place = after

    def _cut(self, spans: Sequence[tuple[Span, BinRow]]) -> list[BinProblem]:
        """Cut nested spans, sorted from outer to inner, into segments."""
        problems: list[BinProblem] = []
        open_rows: list[tuple[Span, BinRow]] = []
        for span, row in spans:
            while open_rows and open_rows[-1][0].high < span.low:
                self._close(open_rows)
            if open_rows:
                holder_span, holder = open_rows[-1]
                if span == holder_span or span not in holder_span:
                    problems.append(_clash(row, holder, is_same=span == holder_span))
                    continue
                self._holders[row.label] = holder
            self._begin(span.low, row)
            open_rows.append((span, row))
            self._count += 1
        while open_rows:
            self._close(open_rows)
        return problems

    def _close(self, open_rows: list[tuple[Span, BinRow]]) -> None:
        span, _ = open_rows.pop()
        self._begin(span.high + 1, open_rows[-1][1] if open_rows else None)

    def _begin(self, start: int, row: BinRow | None) -> None:
        if self._starts[-1] == start:
            self._rows[-1] = row
        else:
            self._starts.append(start)
            self._rows.append(row)


def row_span(row: BinRow) -> Span:
    """Give the numbers that a row covers.

    Raises
    ------
    ValueError
        Its digits are not a prefix or range of 6 to 11 digits.
    """
    match = _DIGITS.fullmatch(row.digits)
    if match is None:
        msg = "not 6 to 11 digits, or two such as 411111..411119"
        raise ValueError(msg)
    low, high = match[1], match[2] or match[1]
    if len(low) != len(high):
        msg = "the ends of the range have different lengths"
        raise ValueError(msg)
    if low > high:
        msg = "the range ends before it begins"
        raise ValueError(msg)
    return Span.of_digits(low, high)


def code_prefixes(digits: str) -> tuple[str, ...]:
    """Give the prefixes of payment codes that a row names: two digits, or a range.

    Raises
    ------
    ValueError
        Neither, or a range that begins behind its end.

    Examples
    --------
    >>> code_prefixes("62"), code_prefixes("10..12")
    (('62',), ('10', '11', '12'))
    """
    low, _, high = digits.partition("..")
    ends = low, high or low
    if (
        not all(len(each) == 2 and each.isdecimal() for each in ends)
        or ends[0] > ends[1]
    ):
        msg = "not two digits, or two such as 25..30"
        raise ValueError(msg)
    return tuple(f"{each:02}" for each in range(int(ends[0]), int(ends[1]) + 1))


def override(rows: Iterable[BinRow], by: Iterable[BinRow]) -> list[BinRow]:
    """Give the rows of a file with those of the configuration in their place.

    A row of the configuration replaces the row with the same digits and joins the
    others.
    """
    wins = list(by)
    taken = {row.digits for row in wins}
    return wins + [row for row in rows if row.digits not in taken]


def _spans(
    rows: Iterable[BinRow],
) -> tuple[list[tuple[Span, BinRow]], list[BinProblem]]:
    """Give the rows with their spans, outer before inner, and what is wrong."""
    spans: list[tuple[Span, BinRow]] = []
    problems: list[BinProblem] = []
    named: dict[str, BinRow] = {}
    for row in rows:
        try:
            spans.append((row_span(row), row))
        except ValueError as error:
            problems.append(_problem(row, f"BIN: {error}", "mend the digits"))
            continue
        problems += _name_problems(row, named)
    spans.sort(key=lambda each: (each[0].low, -each[0].high))
    return spans, problems


def _name_problems(row: BinRow, named: dict[str, BinRow]) -> Iterator[BinProblem]:
    if not row.name:
        if len(row.digits.partition(".")[0]) > SHOWN_DIGITS_MAX:
            yield _problem(
                row,
                f"a BIN of more than {SHOWN_DIGITS_MAX} digits has no name",
                "give it one: it is written down in place of the digits",
            )
        return
    if named.setdefault(row.name, row) is not row:
        yield _problem(
            row,
            f"the name {row.name!r} belongs to {_place(named[row.name])}",
            "give each row a name of its own",
        )


def _clash(row: BinRow, other: BinRow, *, is_same: bool) -> BinProblem:
    if not row.line:
        # What stands in a file is shown with its line.
        row, other = other, row
    if is_same:
        what = f"BIN {row.label} stands in {_place(other)} too"
        return _problem(row, what, "remove one of them")
    return _problem(
        row,
        f"BIN {row.label} overlaps {other.label} of {_place(other)}, "
        "and neither lies in the other",
        "cut one of the ranges",
    )


def _place(row: BinRow) -> str:
    return f"line {row.line}" if row.line else "the configuration"


def _problem(row: BinRow, what: str, fix: str) -> BinProblem:
    return BinProblem(line=row.line, digits=row.digits, what=what, fix=fix)

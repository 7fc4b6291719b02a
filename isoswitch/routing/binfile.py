"""BIN files: one row for each BIN, comma- or tab-separated, under a header.

    bin                 primary  alternate  name       country  group   stand_in
    411111              north    south
    5136333             south                          826      debit
    41111125..41111129  south               gift-card                   small

``bin`` and ``primary`` are required, the other columns may be left out or stand in
any order. Empty lines and lines that begin with ``#`` are passed over.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping

from isoswitch.routing.bins import BinProblem, BinRow, BinsRefused

COLUMNS = ("bin", "primary", "alternate", "name", "country", "group", "stand_in")
REQUIRED = ("bin", "primary")
NAME = r"[a-z][a-z0-9-]{0,31}"
_FIELDS: Mapping[str, str] = {"bin": "digits"}
# What a value must look like, and what that means for people.
_SHAPES: Mapping[str, tuple[re.Pattern[str], str]] = {
    "bin": (re.compile(r"[0-9.]+"), "digits, or a range such as 411111..411119"),
    "primary": (re.compile(NAME), "the name of an endpoint"),
    "alternate": (re.compile(rf"({NAME})?"), "the name of an endpoint, or nothing"),
    "name": (
        # A name is stored: it must not carry the digits it stands for.
        re.compile(rf"((?!.*\d{{6}}){NAME})?"),
        "lower-case letters, hyphens and fewer than six digits in a row",
    ),
    "country": (re.compile(r"(\d{3})?"), "three digits (ISO 3166 numeric), or nothing"),
    "group": (re.compile(rf"({NAME})?"), "a lower-case name, or nothing"),
    "stand_in": (
        re.compile(rf"({NAME})?"),
        "the name of a stand-in profile, or nothing",
    ),
}


def read_bin_rows(lines: Iterable[str]) -> list[BinRow]:
    """Read the rows of a BIN file.

    Raises
    ------
    BinsRefused
        Everything that is wrong with the lines by themselves.

    Examples
    --------
    >>> read_bin_rows(["primary,bin", "north,411111"])[0].digits
    '411111'
    """
    numbered = (
        (number, line)
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.startswith("#")
    )
    number, header = next(numbered, (1, ""))
    delimiter = "\t" if "\t" in header else ","
    columns = [column.strip() for column in header.split(delimiter)]
    problems = list(_header_problems(number, columns))
    if problems:
        raise BinsRefused(problems)
    rows: list[BinRow] = []
    for number, line in numbered:
        values = _values(line, delimiter)
        wrong = list(_row_problems(number, columns, values))
        if wrong:
            problems += wrong
            continue
        fields = {
            _FIELDS.get(column, column): value
            for column, value in zip(columns, values, strict=True)
        }
        rows.append(BinRow(line=number, **fields))
    if problems:
        raise BinsRefused(problems)
    return rows


def _header_problems(number: int, columns: list[str]) -> Iterator[BinProblem]:
    known = ", ".join(COLUMNS)
    for column in columns:
        if column not in COLUMNS:
            yield _problem(number, "the header has an unknown column", f"use {known}")
        elif columns.count(column) > 1:
            yield _problem(number, f"column {column} stands twice", "remove one")
    for column in REQUIRED:
        if column not in columns:
            yield _problem(
                number, f"the header has no column {column}", f"columns: {known}"
            )


def _values(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return [value.strip() for value in line.split(delimiter)]
    try:
        values = next(csv.reader([line], delimiter=delimiter))
    except csv.Error:
        return []
    return [value.strip() for value in values]


def _row_problems(
    number: int, columns: list[str], values: list[str]
) -> Iterator[BinProblem]:
    if len(values) != len(columns):
        yield _problem(
            number,
            f"{len(values)} values under {len(columns)} columns",
            "write one value for each column; it may be empty",
        )
        return
    for column, value in zip(columns, values, strict=True):
        shape, meaning = _SHAPES[column]
        if not shape.fullmatch(value):
            yield _problem(number, f"{column} is not what it must be", meaning)


def _problem(number: int, what: str, fix: str) -> BinProblem:
    return BinProblem(line=number, digits="", what=what, fix=fix)

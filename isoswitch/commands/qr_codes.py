"""What ``isoswitch qr`` does: read a payment code, make one, show it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from rich.markup import escape

from isoswitch.codecs.qr import render
from isoswitch.codecs.qr.describe import (
    Code,
    decode_code,
    describe_code,
    is_public,
    title,
)
from isoswitch.codecs.qr.links import build_upi
from isoswitch.codecs.qr.mpm import TIP_FIXED, TIP_PERCENT, TIP_PROMPT
from isoswitch.codecs.qr.schemes import SCHEMES, QrScheme, Tip, build_merchant_code
from isoswitch.commands import console


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How a code is shown, and the files its picture goes to."""

    as_json: bool = False
    unsafe: bool = False
    draw: bool = True
    svg: Path | None = None
    png: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a new code shall say, as it was typed."""

    scheme: str
    values: list[str]
    name: str = "NA"
    city: str = "NA"
    mcc: str = "0000"
    amount: str = ""
    currency: str = ""
    country: str = ""
    tip: str = ""
    additional: list[str]
    is_dynamic: bool = False


def show(text: str, output: Output) -> None:
    """Print what a code means; ``-`` reads it from standard input."""
    if text == "-":
        text = sys.stdin.readline().rstrip("\r\n")
    _present(decode_code(text), output)


def make(wish: Wish, output: Output) -> None:
    """Make a code and print it."""
    account = _pairs(wish.values)
    if wish.scheme == "upi":
        asked = {"am": wish.amount} if wish.amount else {}
        _present(build_upi({**account, **asked}), output)
        return
    code = build_merchant_code(
        _scheme(wish.scheme),
        account,
        name=wish.name,
        city=wish.city,
        mcc=wish.mcc,
        amount=_decimal(wish.amount) if wish.amount else None,
        currency=wish.currency,
        country=wish.country,
        is_dynamic=wish.is_dynamic,
        tip=_tip(wish.tip) if wish.tip else None,
        additional=_pairs(wish.additional),
    )
    _present(code, output)


def _present(code: Code, output: Output) -> None:
    rows = describe_code(code, unsafe=output.unsafe)
    may_draw = output.unsafe or is_public(code)
    if (output.svg or output.png) and not may_draw:
        what = "the picture would show a payer's secret"
        raise _usage(what, "add --unsafe if you may")
    if output.svg:
        output.svg.write_text(render.to_svg(code.encode()), encoding="utf-8")
    if output.png:
        output.png.write_bytes(render.to_png(code.encode()))
    if output.as_json:
        parts = [{"path": path, "name": n, "value": value} for path, n, value in rows]
        answer: dict[str, object] = {"kind": title(code), "parts": parts}
        if output.unsafe:
            answer["payload"] = code.encode()
        console.print_json(answer)
        return
    table = console.plain_table("id", "name", "value", title=title(code))
    for row in rows:
        table.add_row(*map(_plain, row))
    out = console.stdout()
    out.print(table)
    if output.unsafe:
        out.print(code.encode(), markup=False, soft_wrap=True)
    if output.draw and may_draw:
        out.print(render.to_terminal(code.encode()), markup=False)


def _plain(text: str) -> str:
    return escape("".join(c if c.isprintable() else "\N{MIDDLE DOT}" for c in text))


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise _usage(f"{text!r} is not KEY=VALUE", "write it as 01=VALUE")
        # UnionPay's account is one text without parts of its own.
        pairs[key if key != "account" else ""] = value
    return pairs


def _scheme(name: str) -> QrScheme:
    if name not in SCHEMES:
        raise _usage(f"no scheme {name!r}", f"one of upi, {', '.join(SCHEMES)}")
    return SCHEMES[name]


def _tip(text: str) -> Tip:
    kind, _, value = text.partition(":")
    kinds = {"prompt": TIP_PROMPT, "fixed": TIP_FIXED, "percent": TIP_PERCENT}
    if kind not in kinds or (kind == "prompt") == bool(value):
        raise _usage(f"{text!r} is not a tip", "prompt, fixed:1.00 or percent:5")
    return Tip(kinds[kind], _decimal(value or "0"))


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise _usage(f"{text!r} is not an amount", "write it as 12.50")
    return number


def _usage(what: str, fix: str) -> console.Failure:
    return console.Failure(what, fix=fix, exit_code=console.USAGE)

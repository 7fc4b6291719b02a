"""``isoswitch qr``: read a payment code, make one, draw it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from isoswitch.commands.options import Config

app = typer.Typer(
    name="qr", help="Read and make payment QR codes.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Unsafe = Annotated[
    bool, typer.Option("--unsafe", help="Show card numbers and codes in clear.")
]
Svg = Annotated[Path | None, typer.Option(help="Write the picture to this SVG file.")]
Png = Annotated[Path | None, typer.Option(help="Write the picture to this PNG file.")]
Draw = Annotated[bool, typer.Option(help="Draw the code in the terminal.")]


@app.command()
def show(
    code: Annotated[str, typer.Argument(help="What the code says; - reads a line.")],
    as_json: Json = False,
    unsafe: Unsafe = False,
    draw: Draw = True,
    svg: Svg = None,
    png: Png = None,
) -> None:
    """Say what a payment code means, and draw it.

    Reads merchant-presented and consumer-presented EMVCo codes, UPI links and the
    payment codes of Alipay, WeChat and UnionPay.
    """
    from isoswitch.commands import qr_codes

    qr_codes.show(
        code,
        qr_codes.Output(as_json=as_json, unsafe=unsafe, draw=draw, svg=svg, png=png),
    )


@app.command()
def pay(
    code: Annotated[str, typer.Argument(help="What a merchant's code says.")],
    client: Annotated[
        str, typer.Option(help="The wallet, by its name in [portal.clients].")
    ] = "bankapp",
    config: Config = None,
) -> None:
    """Pay a code of this network, as the customer of a simulated bank does."""
    from isoswitch.commands import bank_app

    sys.exit(bank_app.pay(config, code, client=client))


@app.command()
def make(
    scheme: Annotated[str, typer.Argument(help="pix, paynow, promptpay ... or upi.")],
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="A part of the account, such as 01=KEY or pa=a@b."),
    ] = None,
    name: Annotated[str, typer.Option(help="The merchant's name.")] = "NA",
    city: Annotated[str, typer.Option(help="The merchant's city.")] = "NA",
    mcc: Annotated[str, typer.Option(help="The merchant category code.")] = "0000",
    amount: Annotated[str, typer.Option(help="Such as 12.50; else the payer's.")] = "",
    currency: Annotated[str, typer.Option(help="ISO 4217 number.")] = "",
    country: Annotated[str, typer.Option(help="ISO 3166 letters.")] = "",
    tip: Annotated[str, typer.Option(help="prompt, fixed:1.00 or percent:5.")] = "",
    add: Annotated[
        list[str] | None, typer.Option(help="Additional data, such as 05=REF1.")
    ] = None,
    dynamic: Annotated[bool, typer.Option(help="For one payment only.")] = False,
    as_json: Json = False,
    draw: Draw = True,
    svg: Svg = None,
    png: Png = None,
) -> None:
    """Make a merchant's code for a scheme, and draw it."""
    from isoswitch.commands import qr_codes

    wish = qr_codes.Wish(
        scheme=scheme,
        values=values or [],
        name=name,
        city=city,
        mcc=mcc,
        amount=amount,
        currency=currency,
        country=country,
        tip=tip,
        additional=add or [],
        is_dynamic=dynamic,
    )
    qr_codes.make(
        wish,
        qr_codes.Output(as_json=as_json, unsafe=True, draw=draw, svg=svg, png=png),
    )

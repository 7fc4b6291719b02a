"""The packaged network, as tests load it where nothing has been set up."""

from __future__ import annotations

from isoswitch.config.load import packaged_network

PACKAGED = packaged_network().read_text(encoding="utf-8")
# Without what `isoswitch setup` makes: a certificate, and the key of the house.
_BEFORE, _, _AFTER = PACKAGED.partition("[houses.house.signature]")
WITHOUT_FILES = "\n".join(
    line
    for line in (_BEFORE + _AFTER[_AFTER.index("\n# Who accepts") :]).splitlines()
    if "TERM0003.pem" not in line
).replace('listener = "tls"', 'listener = "ascii"')

"""What each network does differently from its edition, field by field: data only.

Sources are public packagers, parsers and sample messages; formats are in the notation
of ``spec.field_spec``.
"""

from __future__ import annotations

from collections.abc import Mapping

from isoswitch.codecs.iso8583.layouts import Override


def _formats(rows: Mapping[int, str]) -> dict[int, Override]:
    return {de: Override(format=fmt) for de, fmt in rows.items()}


ICC_BINARY: Mapping[int, Override] = {
    55: Override(name="ICC system related data", format="b...999", encoding="raw")
}

CUP_POS: Mapping[int, Override] = {
    **_formats(
        {
            36: "z...104",
            44: "ans..25",
            53: "n 16",
            54: "ans...20",
            55: "b...255",
            57: "text...512",
            58: "text...512",
            59: "b...999",
            62: "b...512",
            63: "b...163",
        }
    ),
    22: Override(pad="right"),
    23: Override(pad="left"),
    43: Override(encoding="gbk"),
    48: Override(format="n...322", encoding="bcd"),
    56: Override(format="text...512", encoding="gbk"),
    60: Override(format="n...17", encoding="bcd", masking="show"),
    61: Override(format="n...29", encoding="bcd", masking="show"),
}

CUPS: Mapping[int, Override] = {
    **_formats(
        {
            48: "text...512",
            54: "ans...40",
            55: "b...255",
            57: "text...100",
            60: "text...100",
            61: "text...200",
            62: "text...200",
            63: "text...512",
            104: "b...256",
            117: "b...256",
            121: "text...100",
            122: "text...100",
            123: "text...100",
        }
    ),
    43: Override(encoding="gbk"),
}

VISA_VIP: Mapping[int, Override] = {
    **_formats(
        {
            22: "n 4",
            36: "z..104",
            46: "text..255",
            47: "text..255",
            48: "text..255",
            54: "ans..120",
            55: "b..255",
            56: "b..255",
            57: "b..255",
            58: "b..255",
            59: "ans..14",
            60: "b..12",
            61: "b..18",
            62: "b..255",
            63: "b..255",
            104: "b..255",
            105: "b..255",
            123: "b..255",
            125: "b..255",
            126: "b..255",
            127: "b..255",
            # The third bitmap names 130 to 149.
            **dict.fromkeys(range(130, 150), "b..255"),
        }
    ),
    120: Override(format="b...999", length_bytes=2),
}

MASTERCARD_CIS: Mapping[int, Override] = _formats(
    {
        48: "b...999",
        55: "b...255",
        108: "b...999",
        112: "b...999",
    }
)

MASTERCARD_IPM: Mapping[int, Override] = _formats(
    {
        31: "ans..23",
        55: "b...255",
        63: "text...16",
        94: "n..11",
    }
)

AMEX_GCAG: Mapping[int, Override] = {
    **_formats(
        {
            55: "b...255",
            60: "b...999",
            61: "b...999",
            62: "b...999",
            63: "b...999",
        }
    ),
    2: Override(format="ans..19"),
}

BASE24: Mapping[int, Override] = _formats(
    {41: "ans 16", 44: "ans..27", 120: "text...999", 127: "text...999"}
)

POSTILION: Mapping[int, Override] = {
    # Extended private data: six digits of length, a bitmap of its own inside.
    127: Override(format="b......99999", encoding="raw"),
    28: Override(format="x+n 8"),
    55: Override(format="text...999"),
    59: Override(format="text...255"),
}

EPOC_EBT: Mapping[int, Override] = {
    62: Override(format="n 6"),
    63: Override(format="n 4"),
}

WAY4: Mapping[int, Override] = _formats({48: "b...999", 55: "b...255"})

ASCII_HOST: Mapping[int, Override] = {
    **_formats(
        {
            22: "n 4",
            55: "b...255",
            56: "text..99",
            60: "text..8",
            61: "text..36",
            100: "ans..11",
            126: "b..99",
        }
    ),
}

TERMAPP: Mapping[int, Override] = {
    22: Override(format="ans 15"),
    48: Override(format="b....9999"),
    55: Override(format="b...999"),
}

"""The one known defect of published schemas, mended.

All chip data of card messages has a pattern that ends in two blanks, so that no chip
data can follow it: ``([0-9A-F][0-9A-F]){1,10000}  ``. Here the blanks may be there or
not; what we build has none.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_DEFECT: Final = re.compile(rb'(<xs:pattern value="[^"]*[^" ])  "')
CHANGE: Final = "two blanks at the end of a pattern made optional (ICCRltdData)"


class Repaired(NamedTuple):
    """A schema, and what in it differs from the published one."""

    content: bytes
    changes: tuple[str, ...]


def repair_schema(content: bytes) -> Repaired:
    """Mend the defect wherever it is.

    Examples
    --------
    >>> repair_schema(b'<xs:pattern value="([0-9A-F][0-9A-F]){1,10000}  "/>').content
    b'<xs:pattern value="([0-9A-F][0-9A-F]){1,10000} {0,2}"/>'
    """
    mended, count = _DEFECT.subn(rb'\1 {0,2}"', content)
    return Repaired(mended, (f"{count} times: {CHANGE}",) if count else ())

"""Message type indicators: what a request is and which MTI answers it.

digit   meaning
1       version: 0 1987, 1 1993, 2 2003
2       class: 1 authorisation, 2 financial, 4 reversal, 8 network, ...
3       function: even asks or tells, the next odd digit answers it
4       origin: 0 acquirer, 2 issuer, 4 other; odd is the repeat of the one before
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from isoswitch.codecs.canonical.codes import Function

FUNCTION_DIGITS: Mapping[Function, str] = {
    Function.REQUEST: "0",
    Function.RESPONSE: "1",
    Function.ADVICE: "2",
    Function.ADVICE_RESPONSE: "3",
    Function.NOTIFICATION: "4",
}

_VERSIONS = "012"
_CLASSES = "123456789"
_ORIGINS = "012345"


class RequestType(NamedTuple):
    """What the MTI of a message that is no answer says."""

    version: str
    message_class: str
    function: Function
    is_repeat: bool


# Every MTI that asks or tells; an answer or an unassigned MTI is not among them.
REQUESTS: Mapping[str, RequestType] = {
    version + message_class + FUNCTION_DIGITS[function] + origin: RequestType(
        version, message_class, function, int(origin) % 2 == 1
    )
    for version in _VERSIONS
    for message_class in _CLASSES
    for function in (Function.REQUEST, Function.ADVICE, Function.NOTIFICATION)
    for origin in _ORIGINS
}

# The answer to each request and advice. It drops the repeat: 0401 gets 0410.
ANSWERS: Mapping[str, str] = {
    mti: f"{mti[:2]}{int(mti[2]) + 1}{int(mti[3]) // 2 * 2}"
    for mti, request in REQUESTS.items()
    if request.function is not Function.NOTIFICATION
}

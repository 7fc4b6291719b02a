"""Sign-on, sign-off and echo from a terminal: answered, and no money moves."""

from __future__ import annotations

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.transaction import Outcome

APPROVED = Outcome(code=ResponseCode.APPROVED)
UNKNOWN_TERMINAL = Outcome.declined(
    ResponseCode.TERMINAL_NOT_PERMITTED, "the terminal is not registered"
)


def answer_network(*, is_registered: bool, names_terminal: bool) -> Outcome:
    """Accept a network request unless it names a terminal that nobody registered.

    Examples
    --------
    >>> answer_network(is_registered=False, names_terminal=False).is_approved
    True
    """
    if names_terminal and not is_registered:
        return UNKNOWN_TERMINAL
    return APPROVED

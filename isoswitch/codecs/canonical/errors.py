"""Every fault isoswitch raises, in one tree.

A name says the condition. An error says where, why and what to do next, and never
what was there: no card number, PIN block, key or field value enters a message.
"""

from __future__ import annotations


class IsoswitchError(Exception):
    """The root of every fault that isoswitch raises on purpose."""


class PeerError(IsoswitchError):
    """The other end sent something it should not have sent."""


class DecodeError(PeerError):
    """Bytes that are not a message of the expected layout.

    Parameters
    ----------
    reason
        What is wrong, without the value.
    field
        The path of the field, such as ``"55.9F26"``; empty for the message itself.
    offset
        The position of the first wrong byte in the bytes given to the decoder.

    Examples
    --------
    >>> str(DecodeError("letters in a numeric field", field="4", offset=26))
    'field 4, offset 26: letters in a numeric field'
    """

    def __init__(self, reason: str, *, field: str = "", offset: int = 0) -> None:
        self.reason = reason
        self.field = field
        self.offset = offset

    def __str__(self) -> str:
        # Put together when asked: who floods us with rubbish is not read.
        place = f"field {self.field}, " if self.field else ""
        return f"{place}offset {self.offset}: {self.reason}"


class DocumentError(DecodeError):
    """An XML document that is refused; a path and a line say where.

    Parameters
    ----------
    path
        The names of the elements down to the wrong one, such as ``"Document/GrpHdr"``.
    line
        The line of the document, from 1; 0 for the document as a whole.

    Examples
    --------
    >>> str(DocumentError("missing", path="GrpHdr/MsgId", line=3))
    'line 3, GrpHdr/MsgId: missing'
    """

    def __init__(self, reason: str, *, path: str = "", line: int = 0) -> None:
        super().__init__(reason, field=path)
        self.line = line

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line else ""
        place = ", ".join(each for each in (line, self.field) if each)
        return f"{place}: {self.reason}" if place else self.reason


class EncodeError(IsoswitchError):
    """A value of ours that the layout cannot carry.

    Examples
    --------
    >>> str(EncodeError("longer than 12 digits", field="4"))
    'field 4: longer than 12 digits'
    """

    def __init__(self, reason: str, *, field: str = "") -> None:
        self.reason = reason
        self.field = field
        super().__init__(f"field {field}: {reason}" if field else reason)


class LinkDown(IsoswitchError):
    """Nothing was written: the endpoint cannot have seen the request."""


class NoAnswer(IsoswitchError):
    """At least one byte was written and no final answer came: fate unknown."""


class VerificationFailed(PeerError):
    """A MAC, PIN block or cryptogram that does not verify.

    One kind for every cause, so that nobody learns which part was wrong.
    """


class MacMismatch(VerificationFailed):
    """A message authentication code that does not match its message."""


class SignatureRefused(VerificationFailed):
    """A document that is not signed, or not by whom it must be."""


class PinBlockInvalid(VerificationFailed):
    """A PIN block that does not decrypt to a well-formed block for this card."""


class HsmError(IsoswitchError):
    """The crypto service refused or could not run a command."""


class HsmUnavailable(HsmError):
    """No crypto process or token answers in time; the command may be retried."""


class NotSupported(HsmError):
    """A command that this crypto backend has no means for; no retry helps."""


class KeyRefused(HsmError):
    """An unknown key name, or a key used against its usage or mode."""


class KeyPending(KeyRefused):
    """Another version of the key is on its way into use; it may be tried again."""


class StoreUnavailable(IsoswitchError):
    """A unit of work could not be made durable; nothing may be answered."""


class NoStore(StoreUnavailable):
    """There is no store yet where one is to be read."""


class SwitchUnavailable(IsoswitchError):
    """No running switch takes orders."""


class OrderUnanswered(SwitchUnavailable):
    """A switch has taken an order and does not say what came of it."""


class ConfigError(IsoswitchError):
    """The configuration cannot be used; says file, line and the fix."""


class NoConfiguration(ConfigError):
    """There is no file where a configuration is to be read."""

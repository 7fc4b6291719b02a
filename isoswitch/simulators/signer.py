"""Signs and verifies documents for a simulated end, with test keys of its own."""

from __future__ import annotations

from dataclasses import dataclass

from isoswitch.codecs.canonical.errors import SignatureRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.codecs.iso20022.signature import (
    Signature,
    join_payload,
    signing_input,
    split_payload,
)
from isoswitch.hsm.functions.signature import load_private, sign, verify_signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Our private key (PKCS#8, DER) and the switch's public one, with their names."""

    name: str
    private: KeyValue
    their_name: str
    their_public: bytes

    def seal(self, document: bytes) -> bytes:
        """Put our signature before a document."""
        value = sign(load_private(self.private), signing_input(document))
        return join_payload(document, Signature(key_name=self.name, value=value))

    def open(self, payload: bytes) -> bytes:
        """Give the document of a payload that the switch has signed.

        Raises
        ------
        SignatureRefused, DecodeError
            It has not.
        """
        document, signature = split_payload(payload)
        if signature is None or signature.key_name != self.their_name:
            raise SignatureRefused("not signed by the switch")
        try:
            verify_signature(
                self.their_public, signing_input(document), signature.value
            )
        except VerificationFailed:
            raise SignatureRefused("the signature is not of this document") from None
        return document

"""The Merkle tree hash of RFC 6962, grown leaf by leaf in logarithmic memory."""

from __future__ import annotations

import hashlib


class MerkleTree:
    """A tree that gives its root at any size.

    Examples
    --------
    >>> tree = MerkleTree()
    >>> tree.append(b"")
    >>> tree.size, tree.root().hex()[:16]
    (1, '6e340b9cffb37a98')
    """

    def __init__(self) -> None:
        self.size = 0
        # Roots of complete subtrees, the largest first: one per bit set in size.
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf on the right."""
        node = hashlib.sha256(b"\x00" + leaf).digest()
        merges = self.size
        while merges & 1:
            node = _parent(self._peaks.pop(), node)
            merges >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Give the root over all leaves so far (RFC 6962, 2.1)."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = _parent(peak, node)
        return node


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()

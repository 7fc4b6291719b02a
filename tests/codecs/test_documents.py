"""The examples of docs/codecs.md run and give what they say."""

from __future__ import annotations

import doctest
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "codecs.md"


def test_the_examples_give_what_they_say() -> None:
    failed, attempted = doctest.testfile(str(DOCUMENT), module_relative=False)
    assert attempted > 20
    assert failed == 0

"""Reference data that lies beside the repository on some machines, never inside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def corpus(name: str) -> Any:
    """Read ``corpus/<name>`` or skip with the reason where it is absent."""
    return _read(SHARED / "corpus" / name)


def reference(name: str) -> Any:
    """Read ``reference/<name>`` or skip with the reason where it is absent."""
    return _read(SHARED / "reference" / name)


def _read(path: Path) -> Any:
    if not path.exists():
        pytest.skip(
            f"no {path.parent.name}/{path.name} beside the repository",
            allow_module_level=True,
        )
    return json.loads(path.read_text(encoding="utf-8"))

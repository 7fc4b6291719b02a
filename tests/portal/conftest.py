"""Networks in one process run on the virtual clock; real sockets do not."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import iscoroutinefunction
from pathlib import Path

import pytest

from tests.system.conftest import run_virtual


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Run the tests of ``test_app.py`` on virtual time."""
    for item in items:
        is_ours = item.path == Path(__file__).with_name("test_app.py")
        if is_ours and iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run_virtual), append=False)

"""Networks in one process run on the virtual clock; real sockets do not."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import iscoroutinefunction

import pytest

from tests.system.conftest import run_virtual

VIRTUAL = frozenset({"test_app.py", "test_api.py", "test_payments.py"})


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Run those tests on virtual time."""
    for item in items:
        is_ours = item.path.name in VIRTUAL
        if is_ours and iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run_virtual), append=False)

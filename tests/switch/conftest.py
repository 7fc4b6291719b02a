"""The virtual clock for the modules that ask for it: ``IS_VIRTUAL = True``."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import iscoroutinefunction

import pytest

from tests.system.conftest import run_virtual


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Run the tests of such a module under a clock that jumps."""
    for item in items:
        is_virtual = getattr(getattr(item, "module", None), "IS_VIRTUAL", False)
        if is_virtual and iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run_virtual), append=False)

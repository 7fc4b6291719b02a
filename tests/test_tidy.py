"""The rules of style that a machine can count."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 600

MODULES = sorted(
    path.relative_to(ROOT).as_posix() for path in ROOT.glob("isoswitch/**/*.py")
)
TEST_MODULES = sorted(
    path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/**/*.py")
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(module: str) -> ast.Module:
    """Parse a module."""
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def functions(module: str) -> Iterator[Function]:
    """Give every function and method of a module."""
    for node in ast.walk(tree(module)):
        if isinstance(node, Function):
            yield node


def length(function: Function) -> int:
    """Count the lines of a function without its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - ((docstring.end_lineno or 0) - docstring.lineno + 1)


def is_overload(node: ast.AST) -> bool:
    """Tell a signature for the type checker from a function."""
    decorators = getattr(node, "decorator_list", [])
    return any(ast.unparse(each) == "overload" for each in decorators)


def public(node: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    """Give what other modules may use: names without an underscore, at any depth."""
    for child in node.body:
        if not isinstance(child, Function | ast.ClassDef) or is_overload(child):
            continue
        if not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


@pytest.mark.parametrize("module", MODULES + TEST_MODULES)
def test_a_function_fits_a_screen(module: str) -> None:
    long = {f.name: length(f) for f in functions(module)}
    assert {n: size for n, size in long.items() if size > FUNCTION_LINES_MAX} == {}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_one_job_and_600_lines_at_most(module: str) -> None:
    lines = (ROOT / module).read_text(encoding="utf-8").count("\n")
    assert lines <= MODULE_LINES_MAX


@pytest.mark.parametrize("module", MODULES + TEST_MODULES)
def test_a_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(tree(module)), "the module has no docstring"


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_has_a_docstring(module: str) -> None:
    silent = [each.name for each in public(tree(module)) if not ast.get_docstring(each)]
    assert silent == []


@pytest.mark.parametrize(
    "module", [each for each in MODULES if not each.endswith("__init__.py")]
)
def test_a_module_begins_with_the_future_import(module: str) -> None:
    first = tree(module).body[1]
    assert isinstance(first, ast.ImportFrom)
    assert first.module == "__future__"


@pytest.mark.parametrize(
    "module", [each for each in MODULES if each.endswith("__init__.py")]
)
def test_a_package_holds_a_docstring_and_nothing_else(module: str) -> None:
    assert len(tree(module).body) == 1

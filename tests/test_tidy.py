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


def undocumented(module: str) -> Iterator[str]:
    """Name what other modules may use and what has no docstring.

    A method that a base class of the same module documents needs no second one.
    """
    classes = {
        node.name: node for node in tree(module).body if isinstance(node, ast.ClassDef)
    }
    for child in tree(module).body:
        if not isinstance(child, Function | ast.ClassDef) or child.name[0] == "_":
            continue
        if not ast.get_docstring(child):
            yield child.name
        if isinstance(child, ast.ClassDef):
            for method in methods(child):
                if method not in inherited(child, classes):
                    yield f"{child.name}.{method}"


def methods(owner: ast.ClassDef, *, documented: bool = False) -> set[str]:
    """Name the public methods of a class with, or without, a docstring."""
    return {
        child.name
        for child in owner.body
        if isinstance(child, Function)
        and child.name[0] != "_"
        and not is_overload(child)
        and bool(ast.get_docstring(child)) is documented
    }


def inherited(owner: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> set[str]:
    """Name the methods that the bases of a class document."""
    found: set[str] = set()
    for base in (classes.get(ast.unparse(each)) for each in owner.bases):
        if base is not None:
            found |= methods(base, documented=True) | inherited(base, classes)
    return found


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
    assert list(undocumented(module)) == []


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

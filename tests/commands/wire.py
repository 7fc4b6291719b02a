"""Running the commands for messages in this process, as people type them."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner, Result

from isoswitch.commands import dialect
from isoswitch.commands.console import Failure
from isoswitch.commands.wire import decode, diff, encode

app = typer.Typer()
app.command()(decode)
app.command()(encode)
app.command()(diff)
app.add_typer(dialect.app)


def invoke(*words: str, given: bytes = b"") -> Result:
    """Run a command; a failure with a fix is raised."""
    return CliRunner().invoke(app, words, input=given, catch_exceptions=False)


def run(*words: str, given: bytes = b"") -> str:
    """Run a command that succeeds, and give what it prints."""
    result = invoke(*words, given=given)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*words: str, given: bytes = b"") -> Failure:
    """Give why a command does not go on; it says what to do."""
    with pytest.raises(Failure) as refused:
        invoke(*words, given=given)
    assert refused.value.fix
    return refused.value

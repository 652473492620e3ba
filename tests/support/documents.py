"""The project's documents, and the command line that they speak of."""

from pathlib import Path

import click
import typer.main

from parties.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def commands() -> dict[str, click.Command]:
    """Return the commands of `distaim` by name."""
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    return group.commands


def options_of(command: click.Command) -> set[str]:
    """Return how the options of a command are written."""
    return {option for parameter in command.params for option in parameter.opts}

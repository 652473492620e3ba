"""The project's documents, and the command line that they speak of."""

from pathlib import Path

import typer.main
from typer.core import TyperCommand, TyperGroup

from parties.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def commands() -> dict[str, TyperCommand]:
    """Return the commands of `distaim` by name."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    made = group.commands.items()
    return {name: command for name, command in made if isinstance(command, TyperCommand)}


def options_of(command: TyperCommand) -> set[str]:
    """Return how the options of a command are written."""
    return {option for parameter in command.params for option in parameter.opts}

"""The project's documents, and the command line that they speak of."""

import re
import shlex
from pathlib import Path

import typer.main
from typer.core import TyperCommand

from parties.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "deploying.md"
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def calls(markdown: str) -> list[list[str]]:
    """Return the words after `distaim` of every such line in a text's code blocks."""
    text = "".join(re.findall(r"```\n(.*?)```", markdown, re.DOTALL)).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("distaim ")]
    return [shlex.split(line)[1:] for line in lines]


def commands() -> dict[str, TyperCommand]:
    """Return the commands of `distaim` by name."""
    found: dict[str, TyperCommand] = {}
    for name, command in typer.main.get_group(app).commands.items():
        assert isinstance(command, TyperCommand), f"{name} has commands of its own"
        found[name] = command
    return found


def options_of(command: TyperCommand) -> set[str]:
    """Return how the options of a command are written."""
    return {option for parameter in command.params for option in parameter.opts}

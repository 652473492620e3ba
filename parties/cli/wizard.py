"""Questions on the terminal for what the options do not say."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import typer

from parties.errors import ConfigError

Answer = TypeVar("Answer")


class Wizard:
    """Takes each answer from the options, else from the user if `asking`, else the default.

    A wrong answer of the user is explained and asked for again; one of the options is ConfigError.
    """

    def __init__(self, asking: bool) -> None:
        self._asking = asking

    def one(
        self, given: str | None, question: str, default: str | None, read: Callable[[str], Answer]
    ) -> Answer:
        """Return one answer as `read` understands it."""
        if given is not None:
            return read(given)
        if default is not None and not self._asking:
            return read(default)
        while True:
            try:
                return read(typer.prompt(question, default=default, err=True))
            except ConfigError as error:
                typer.echo(f"{error}", err=True)

    def several(
        self,
        given: Sequence[str] | None,
        question: str,
        form: str,
        read: Callable[[str], Answer],
        least: int,
    ) -> list[Answer]:
        """Return a list of at least `least` answers; an empty one ends it."""
        if given:
            return [read(text) for text in given]
        answers: list[Answer] = []
        while True:
            end = ", empty to end" if len(answers) >= least else ""
            text = typer.prompt(
                f"{question} {len(answers) + 1}, {form}{end}",
                default="" if end else None,
                show_default=False,
                err=True,
            )
            if not text:
                return answers
            try:
                answers.append(read(text))
            except ConfigError as error:
                typer.echo(f"{error}", err=True)


def whole_number(text: str) -> int:
    """Read a number from 1 on; ConfigError if it is none."""
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{text!r} is not a whole number from 1 on")
    return int(text)

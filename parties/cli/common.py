"""What all commands share: options, and errors as texts and exit codes."""

import sys
import traceback
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from parties.errors import ExitCode
from parties.files import write_whole
from parties.wire.failures import Failure, exit_code, to_body

EXIT_INTERRUPTED = 130


class EstimatorKind(StrEnum):
    """Which program fits the model."""

    NUMPY = "numpy"
    MBI = "mbi"


class NoiseKind(StrEnum):
    """How the noise is made."""

    DEALERS = "dealers"
    JOINT = "joint"


class EngineKind(StrEnum):
    """Which secure engine the compute parties run."""

    REPLICATED = "replicated"
    SHAMIR = "shamir"


Json = Annotated[bool, typer.Option("--json", help="Print results and errors as JSON.")]


def guarded(action: Callable[[], None], as_json: bool, error_file: Path | None = None) -> None:
    """Run a command's action; turn its error into a text and an exit code."""
    try:
        action()
    except KeyboardInterrupt:
        typer.echo("distaim: interrupted; all its processes have been stopped", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except typer.Abort:
        typer.echo("distaim: the answers ended early; nothing was written", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the boundary: every error becomes an exit code
        body = to_body(error)
        if error_file is not None:
            write_whole(error_file, body.model_dump_json())
        if exit_code(error) == ExitCode.INTERNAL:
            traceback.print_exception(error)
        if as_json:
            typer.echo(body.model_dump_json(), err=True)
        else:
            typer.echo(f"distaim: {_text(error)}", err=True)
        sys.exit(exit_code(error))


def _text(error: Exception) -> str:
    if not isinstance(error, Failure):
        return "an internal error, see above; please report it"
    where = [
        f"{name} {value}"
        for name in ("party", "round")
        if (value := getattr(error, name, None)) is not None
    ]
    return f"{error}" + (f" ({', '.join(where)})" if where else "")


def parse_rounds(text: str) -> int | None:
    """Read the option --rounds: adaptive is None."""
    if text == "adaptive":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(
            f"{text!r} is neither adaptive nor a number", param_hint="--rounds"
        )
    return int(text)

"""What all commands share: the option --json, and errors as texts and exit codes."""

import datetime as dt
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parties.errors import ExitCode
from parties.files import write_whole

if TYPE_CHECKING:
    from parties.agreement.manifest import Manifest

EXIT_INTERRUPTED = 130


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
        sys.exit(_report(error, as_json, error_file))


def _report(error: Exception, as_json: bool, error_file: Path | None) -> int:
    """Say what happened where it was asked for, and return the exit code."""
    from parties.wire.failures import Failure, exit_code, to_body  # no --help needs messages

    body = to_body(error)
    if error_file is not None:
        write_whole(error_file, body.model_dump_json(), 0o600)
    if exit_code(error) == ExitCode.INTERNAL:
        traceback.print_exception(error)
    if as_json:
        typer.echo(body.model_dump_json(), err=True)
    elif isinstance(error, Failure):
        typer.echo(f"distaim: {error}{_where(error)}", err=True)
    else:
        typer.echo("distaim: an internal error, see above; please report it", err=True)
    return exit_code(error)


def _where(error: Exception) -> str:
    places = [
        f"{name} {value}"
        for name in ("party", "round")
        if (value := getattr(error, name, None)) is not None
    ]
    return f" ({', '.join(places)})" if places else ""


def warn_of_noise(manifest: "Manifest") -> None:
    """Say in which columns a manifest's job will measure little but noise."""
    from parties.agreement.derived import manifest_warnings  # only some commands need it
    from parties.agreement.public_inputs import public_inputs

    for text in manifest_warnings(manifest, public_inputs(manifest)):
        typer.echo(f"warning: {text}", err=True)


def warn_of_expiry(manifest: "Manifest") -> None:
    """Say which certificates of a manifest are not good now, or end soon."""
    from parties.agreement.approval import expiry_warnings  # only some commands need it

    for text in expiry_warnings(manifest, dt.datetime.now(dt.UTC)):
        typer.echo(f"warning: {text}", err=True)

"""The `distaim` command. Errors say what happened, why, and what to do; no tracebacks.

Exit codes: 0 done; 1 a fault of this program, or a command that checks has found something; 2 input
or options that cannot be used; 3 the privacy budget does not pay for what was asked; 4 a party or
peer failed; 5 a party or peer broke the protocol, or showed a wrong identity; 130 interrupted.
"""

import os

# Before numpy is imported, which reads them once: all roles share the cores of this machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from typing import Annotated

import typer

from parties.cli import audit, compare, estimate, init, roles, run, sample, schema, setup

_SHOWN_PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "pydantic", "cryptography")

app = typer.Typer(
    name="distaim",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for commands in (run, schema, sample, setup, init, roles, audit, estimate, compare):
    app.add_typer(commands.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(_version_text())
        raise typer.Exit


def _version_text() -> str:
    """Say which version this is and what it runs on, as a report of a fault needs it."""
    import platform

    from parties.agreement.manifest import PROTOCOL  # --help need not wait for these
    from parties.wire.environment import versions_of

    versions = versions_of(["distaim", *_SHOWN_PACKAGES])
    packages = ", ".join(f"{package} {versions[package]}" for package in _SHOWN_PACKAGES)
    return (
        f"distaim {versions['distaim']}\n"
        f"protocol {PROTOCOL}\n"
        f"{platform.python_implementation()} {versions['python']} on {platform.platform()}\n"
        f"{packages}"
    )


@app.callback()
def common_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show version and build."
        ),
    ] = False,
) -> None:
    """Differentially private synthetic tables (AIM) from data that stays with its holders."""


def main() -> None:
    """Run the command line; the script `distaim` and `python -m parties` begin here."""
    app(prog_name="distaim")

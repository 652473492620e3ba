"""The `distaim` command. Errors say what happened, why, and what to do; no tracebacks.

Exit codes: 0 done; 1 a fault of this program, or a command that checks has found something; 2 input
or options that cannot be used; 3 the privacy budget does not pay for what was asked; 4 a party or
peer failed; 5 a party or peer broke the protocol, or showed a wrong identity; 130 interrupted.
"""

import os

# Before numpy is imported, which reads them once: all roles share the cores of this machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import typer

from parties.cli import audit, compare, estimate, init, keys, roles, run, schema, setup

app = typer.Typer(
    name="distaim",
    help="Differentially private synthetic tables (AIM) from data that stays with its holders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for commands in (run, schema, keys, init, setup, roles, audit, estimate, compare):
    app.add_typer(commands.app)


def main() -> None:
    """Run the command line; the script `distaim` and `python -m parties` begin here."""
    app()

"""What a user may choose of a job's terms, as it is written; to name it loads no arithmetic."""

from dataclasses import dataclass
from types import MappingProxyType

import typer

from mpc.noise.kinds import NoiseKind
from parties.agreement.values import EngineKind


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The terms that a user writes down, for `distaim run` and `distaim init` alike.

    Budgets and `max_model_mb` are exact texts. `max_cells` bounds the cells of a marginal in the
    workload, None not at all; `rounds` None is adaptive.
    """

    workload: str
    epsilon: str
    delta: str
    threshold: int
    rounds: int | None
    max_cells: int | None
    max_model_mb: str
    noise: NoiseKind
    engine: EngineKind


def read_rounds(text: str) -> int | None:
    """Read the option --rounds: adaptive is None."""
    if text == "adaptive":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(
            f"{text!r} is neither adaptive nor a number", param_hint="--rounds"
        )
    return int(text)


WORKLOAD_HELP = (
    "1way, 2way, 3way, random:COUNT:SEED, columns such as age,income, or a file; joined by +, "
    "weighed as in age,income*5."
)
ROUNDS = typer.Option(parser=read_rounds, metavar="<str>", help="adaptive, or a number of rounds.")
ADAPTIVE = MappingProxyType({"written": "adaptive"})
"""Metadata of a field for ROUNDS: how its default, None, is written on the command line."""

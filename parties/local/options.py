"""The options of `distaim run`, with their texts on the command line."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from aim_core.models.fitters import FitterKind
from mpc.noise.kinds import NoiseKind
from parties.agreement.choices import Choices
from parties.agreement.values import EngineKind
from parties.setup.table_options import TABLE_HELP, TableOptions


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


class OracleKind(StrEnum):
    """Who answers the mechanism's questions."""

    MPC = "mpc"
    PLAINTEXT = "plaintext"


@dataclass(frozen=True, kw_only=True)
class RunOptions(Choices, TableOptions):
    """What the user asked for.

    `table` None is the demo table. `seed` None draws one, or takes that of `dry_run_noise`.
    """

    out: Annotated[Path, typer.Option(help="New folder for the results.")]
    table: Annotated[
        Path | None,
        typer.Argument(help=f"{TABLE_HELP}, - is stdin; without it, a demo table."),
    ] = None
    schema: Annotated[Path | None, typer.Option(help="Public schema, TOML or JSON.")] = None
    epsilon: Annotated[str, typer.Option(help="Privacy budget, exact, such as 1 or 0.5.")] = "1"
    delta: Annotated[str, typer.Option(help="Privacy budget, exact, such as 1e-9.")] = "1e-9"
    workload: Annotated[str, typer.Option(help=WORKLOAD_HELP)] = "2way"
    max_cells: Annotated[
        int | None, typer.Option(min=1, help="Leave out marginals with more cells.")
    ] = None
    max_model_mb: Annotated[str, typer.Option(help="Largest model, in megabytes.")] = "80"
    rounds: Annotated[int | None, ROUNDS] = field(default=None, metadata=ADAPTIVE)
    parties: Annotated[int, typer.Option(help="Compute parties, 3 to 7.")] = 3
    threshold: Annotated[int, typer.Option(help="How many of them may collude.")] = 1
    holders: Annotated[int, typer.Option(help="Simulated data holders.")] = 10
    split: Annotated[
        str,
        typer.Option(help="How rows go to the simulated holders: iid, cluster, dirichlet:BETA."),
    ] = "iid"
    target: Annotated[
        str | None,
        typer.Option(help="The column that dirichlet skews; default: the last binary one."),
    ] = None
    participation: Annotated[
        str, typer.Option(help="Rate at which holders join in each round.")
    ] = "1"
    oracle: Annotated[
        OracleKind, typer.Option(help="mpc: the real thing; plaintext: central AIM.")
    ] = OracleKind.MPC
    estimator: Annotated[FitterKind, typer.Option(help="Who fits the model.")] = FitterKind.NUMPY
    noise: Annotated[
        NoiseKind, typer.Option(help="joint: central variance; dealers: wider, for many parties.")
    ] = NoiseKind.JOINT
    engine: Annotated[
        EngineKind, typer.Option(help="shamir: MPyC's own integers, for small jobs only.")
    ] = EngineKind.REPLICATED
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows to sample; default: as the model estimates.")
    ] = None
    seed: Annotated[
        int | None, typer.Option(min=0, help="Public seed; privacy noise never uses it.")
    ] = None
    dry_run_noise: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="SEED",
            help="NO PRIVACY: noise from a public seed, to repeat a run; plaintext oracle only.",
        ),
    ] = None

"""The `distaim` command. Errors say what happened, why, and what to do; no tracebacks.

Exit codes: 0 done; 1 a fault of this program, or a command that checks has found something; 2 input
or options that cannot be used; 3 the privacy budget does not pay for what was asked; 4 a party or
peer failed; 5 a party or peer broke the protocol, or showed a wrong identity; 130 interrupted.
"""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

# Before numpy is imported, which reads them once: all roles share the cores of this machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import typer

from parties.cli.common import EngineKind, EstimatorKind, Json, NoiseKind, guarded, parse_rounds
from parties.cli.compare import app as comparisons
from parties.cli.outside import app as audits
from parties.cli.roles import app as roles
from parties.cli.setup import app as sites
from parties.errors import ConfigError

if TYPE_CHECKING:
    from parties.wire.run_facts import RunFacts

app = typer.Typer(
    name="distaim",
    help="Differentially private synthetic tables (AIM) from data that stays with its holders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(sites)
app.add_typer(roles)
app.add_typer(audits)
app.add_typer(comparisons)


class OracleKind(StrEnum):
    """Who answers the mechanism's questions."""

    MPC = "mpc"
    PLAINTEXT = "plaintext"


Split = Annotated[
    str, typer.Option(help="How rows go to the simulated holders: iid, cluster, dirichlet:BETA.")
]
Target = Annotated[
    str | None, typer.Option(help="The column that dirichlet skews; default: the last binary one.")
]
Participation = Annotated[str, typer.Option(help="Rate at which holders join in each round.")]


@app.command("run")
def run_command(
    out: Annotated[Path, typer.Option(help="New folder for the results.")],
    table: Annotated[
        Path | None, typer.Argument(help="CSV or Parquet; without it, a demo table.")
    ] = None,
    schema: Annotated[Path | None, typer.Option(help="Public schema, TOML or JSON.")] = None,
    epsilon: Annotated[str, typer.Option(help="Privacy budget, exact, such as 1 or 0.5.")] = "1",
    delta: Annotated[str, typer.Option(help="Privacy budget, exact, such as 1e-9.")] = "1e-9",
    workload: Annotated[
        str, typer.Option(help="2way, 3way, random:COUNT:SEED, or a file of cliques.")
    ] = "2way",
    max_cells: Annotated[
        int | None, typer.Option(min=1, help="Leave out marginals with more cells.")
    ] = None,
    max_model_mb: Annotated[str, typer.Option(help="Largest model, in megabytes.")] = "80",
    rounds: Annotated[str, typer.Option(help="adaptive, or a number of rounds.")] = "adaptive",
    parties: Annotated[int, typer.Option(help="Compute parties, 3 to 7.")] = 3,
    threshold: Annotated[int, typer.Option(help="How many of them may collude.")] = 1,
    holders: Annotated[int, typer.Option(help="Simulated data holders.")] = 10,
    split: Split = "iid",
    target: Target = None,
    participation: Participation = "1",
    oracle: Annotated[
        OracleKind, typer.Option(help="mpc: the real thing; plaintext: central AIM.")
    ] = OracleKind.MPC,
    estimator: Annotated[
        EstimatorKind, typer.Option(help="Who fits the model.")
    ] = EstimatorKind.NUMPY,
    noise: Annotated[
        NoiseKind, typer.Option(help="joint: central variance; dealers: wider, for many parties.")
    ] = NoiseKind.JOINT,
    engine: Annotated[
        EngineKind, typer.Option(help="shamir: MPyC's own integers, for small jobs only.")
    ] = EngineKind.REPLICATED,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows to sample; default: as the model estimates.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Public seed; privacy noise never uses it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run everything on this machine: parties, holders and estimator as separate processes."""
    from parties.local.options import RunOptions
    from parties.local.run import run  # the other commands need not wait for it

    options = RunOptions(
        out=out,
        table=table,
        schema=schema,
        epsilon=epsilon,
        delta=delta,
        workload=workload,
        max_cells=max_cells,
        max_model_mb=max_model_mb,
        rounds=parse_rounds(rounds),
        parties=parties,
        threshold=threshold,
        holders=holders,
        split=split,
        target=target,
        participation=participation,
        oracle=oracle.value,
        estimator=estimator.value,
        noise=noise.value,
        engine=engine.value,
        rows=rows,
        seed=seed,
    )
    guarded(lambda: _print_summary(run(options), out, as_json), as_json)


@app.command("schema")
def schema_command(
    table: Annotated[Path, typer.Argument(help="CSV or Parquet.")],
    out: Annotated[Path | None, typer.Option(help="Write here instead of to the screen.")] = None,
    bins: Annotated[int, typer.Option(min=1, help="Bins of a continuous column.")] = 32,
    as_json: Json = False,
) -> None:
    """Draft a schema from a table; what it takes from the data is marked as not private."""
    from aim_core.tables.drafting import draft_schema  # pandas is slow to load

    def draft() -> None:
        if out is not None and out.exists():
            raise ConfigError(f"{out} exists; nothing is overwritten, name a new file")
        drafted = draft_schema(table, bins)
        text = drafted.to_toml()
        if as_json:
            text = json.dumps({**drafted.schema.to_dict(), "dropped": drafted.dropped}, indent=1)
        if out is None:
            typer.echo(text)
        else:
            out.write_text(text, "utf-8")
            typer.echo(f"wrote {out}; review what is marked before anyone else sees it", err=True)
        for name, reason in drafted.dropped.items():
            typer.echo(f"column {name} is left out: {reason}", err=True)

    guarded(draft, as_json)


def main() -> None:
    """Run the command line; the script `distaim` and `python -m parties` begin here."""
    app()


def _print_summary(facts: "RunFacts", out: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(facts.model_dump_json())
        return
    typer.echo(
        f"{facts.rows:,} synthetic rows in {out / 'synthetic.csv'}\n"
        f"report: {out / 'report.html'}\n"
        f"({facts.exact.epsilon}, {facts.exact.delta})-differentially private, "
        f"rho spent {facts.rho_spent:.6g} of {facts.rho_budget:.6g} "
        f"in {facts.rounds} rounds, {facts.seconds.total:.1f} s\n"
        f"mean workload error (total variation, not private): {facts.workload_error_tv:.4f}"
    )

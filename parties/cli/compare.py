"""`distaim compare` on the command line."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parties.cli.common import Json, guarded
from parties.cli.options import takes_options
from parties.local.options import WORKLOAD_HELP

if TYPE_CHECKING:
    from parties.compare.settings import CompareSettings

app = typer.Typer()


@dataclass(frozen=True)
class CompareOptions:
    """The options of `distaim compare`; those of its settings have the settings' names."""

    table: Annotated[str, typer.Argument(help="CSV or Parquet, or synthfs: a generated table.")]
    out: Annotated[Path, typer.Option(help="Folder for the results; an interrupted one goes on.")]
    methods: Annotated[
        str,
        typer.Option(
            help="Separated by commas: central, distaim, flaim, augflaim-oracle (not private), "
            "augflaim-private, flaim-random, oneway."
        ),
    ]
    schema: Annotated[Path | None, typer.Option(help="Public schema, TOML or JSON.")] = None
    holders: Annotated[int, typer.Option(help="Simulated data holders, K.")] = 100
    participation: Annotated[
        str, typer.Option(help="Rate p at which holders take part in a round.")
    ] = "0.1"
    rounds: Annotated[int, typer.Option(min=1, help="Rounds T of every method.")] = 10
    local_steps: Annotated[
        int, typer.Option(min=1, help="Cliques s that a holder of FLAIM chooses in a round.")
    ] = 1
    split: Annotated[
        str, typer.Option(help="How rows go to holders: iid, cluster, dirichlet:BETA.")
    ] = "iid"
    target: Annotated[
        str | None,
        typer.Option(help="Column that is classified (AUC); default: the last binary one."),
    ] = None
    epsilon: Annotated[str, typer.Option(help="Privacy budgets, separated by commas.")] = "1,3,5"
    delta: Annotated[str, typer.Option(help="Privacy budget, exact, such as 1e-5.")] = "1e-5"
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions, with seeds 0, 1, ...")] = 5
    workload: Annotated[str, typer.Option(help=WORKLOAD_HELP)] = "random:64:123"
    max_cells: Annotated[
        int | None, typer.Option(min=1, help="Leave out marginals with more cells.")
    ] = None
    max_model_mb: Annotated[str, typer.Option(help="Largest model, in megabytes.")] = "80"
    plaintext_utility: Annotated[
        bool,
        typer.Option(
            help="DistAIM's utility by the plaintext oracle, its bytes from one run over MPC."
        ),
    ] = False
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; default: one per core.")
    ] = None
    as_json: Json = False

    def settings(self) -> "CompareSettings":
        """Return what decides the rows; ConfigError if the table's file cannot be read."""
        from parties.compare.settings import SYNTHFS, CompareSettings
        from parties.compare.sweep import file_sha256

        own = {
            "table_sha256": "" if self.table == SYNTHFS else file_sha256(Path(self.table)),
            "schema_file": None if self.schema is None else str(self.schema),
            "methods": _listed(self.methods),
            "epsilons": _listed(self.epsilon),
        }
        same = vars(self).keys() & CompareSettings.model_fields.keys() - own.keys()
        return CompareSettings.model_validate(own | {name: getattr(self, name) for name in same})


@app.command("compare")
@takes_options(CompareOptions)
def compare_command(options: CompareOptions) -> None:
    """Compare central AIM, DistAIM and FLAIM on one table; what it writes is not private."""
    from parties.compare.sweep import compare

    def run() -> None:
        n_jobs = options.jobs or _n_cores()
        rows = compare(options.settings(), options.out, n_jobs)
        if options.as_json:
            typer.echo(json.dumps({"rows": len(rows), "out": str(options.out)}))
        else:
            typer.echo(f"{len(rows)} runs compared: {options.out / 'compare.html'}")

    guarded(run, options.as_json)


def _n_cores() -> int:
    """Count the cores that this process may use, or all where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]

"""`distaim compare` on the command line."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from parties.cli_common import Json, guarded

app = typer.Typer()


@app.command("compare")
def compare_command(
    table: Annotated[str, typer.Argument(help="CSV or Parquet, or synthfs: a generated table.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; an interrupted one goes on.")],
    methods: Annotated[
        str,
        typer.Option(
            help="Separated by commas: central, distaim, flaim, augflaim-oracle (not private), "
            "augflaim-private, flaim-random, oneway."
        ),
    ],
    schema: Annotated[Path | None, typer.Option(help="Public schema, TOML or JSON.")] = None,
    holders: Annotated[int, typer.Option(help="Simulated data holders, K.")] = 100,
    participation: Annotated[
        str, typer.Option(help="Rate p at which holders take part in a round.")
    ] = "0.1",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds T of every method.")] = 10,
    local_steps: Annotated[
        int, typer.Option(min=1, help="Cliques s that a holder of FLAIM chooses in a round.")
    ] = 1,
    split: Annotated[
        str, typer.Option(help="How rows go to holders: iid, cluster, dirichlet:BETA.")
    ] = "iid",
    target: Annotated[
        str | None,
        typer.Option(help="Column that is classified (AUC); default: the last binary one."),
    ] = None,
    epsilon: Annotated[str, typer.Option(help="Privacy budgets, separated by commas.")] = "1,3,5",
    delta: Annotated[str, typer.Option(help="Privacy budget, exact, such as 1e-5.")] = "1e-5",
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions, with seeds 0, 1, ...")] = 5,
    workload: Annotated[
        str, typer.Option(help="2way, 3way, random:COUNT:SEED, or a file of cliques.")
    ] = "random:64:123",
    max_cells: Annotated[
        int | None, typer.Option(min=1, help="Leave out marginals with more cells.")
    ] = None,
    max_model_mb: Annotated[str, typer.Option(help="Largest model, in megabytes.")] = "80",
    plaintext_utility: Annotated[
        bool,
        typer.Option(
            help="DistAIM's utility by the plaintext oracle, its bytes from one run over MPC."
        ),
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; default: one per core.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare central AIM, DistAIM and FLAIM on one table; what it writes is not private."""
    from parties.compare import compare, file_sha256
    from parties.compare_settings import SYNTHFS, CompareSettings

    def run() -> None:
        settings = CompareSettings(
            table=table,
            table_sha256="" if table == SYNTHFS else file_sha256(Path(table)),
            schema_file=None if schema is None else str(schema),
            methods=_listed(methods),
            holders=holders,
            participation=participation,
            rounds=rounds,
            local_steps=local_steps,
            split=split,
            target=target,
            epsilons=_listed(epsilon),
            delta=delta,
            seeds=seeds,
            workload=workload,
            max_cells=max_cells,
            max_model_mb=max_model_mb,
            plaintext_utility=plaintext_utility,
        )
        rows = compare(settings, out, jobs or len(os.sched_getaffinity(0)))
        if as_json:
            typer.echo(json.dumps({"rows": len(rows), "out": str(out)}))
        else:
            typer.echo(f"{len(rows)} runs compared: {out / 'compare.html'}")

    guarded(run, as_json)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]

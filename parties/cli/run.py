"""`distaim run` on the command line."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aim_core.tables.files.formats import TableSource
from parties.cli.common import Json, guarded
from parties.cli.options import takes_options
from parties.local.options import RunOptions

if TYPE_CHECKING:
    from parties.wire.run_facts import RunFacts

app = typer.Typer()


@app.command("run")
@takes_options(RunOptions)
def run_command(options: RunOptions, as_json: Json = False) -> None:
    """Run everything on this machine: parties, holders and estimator as separate processes."""
    guarded(lambda: _print_summary(_run(options), options.out, as_json), as_json)


def _run(options: RunOptions) -> "RunFacts":
    from aim_core.tables.files.stdin import on_disk
    from parties.local.progress import RunProgress
    from parties.local.run import run  # the other commands need not wait for it
    from parties.local.supervisor import terminate_as_interrupt

    with RunProgress() as progress, terminate_as_interrupt():
        if options.table is None:
            return run(options, progress.show)
        with on_disk(TableSource(options.table)) as source:
            return run(replace(options, table=source.path), progress.show)


def _print_summary(facts: "RunFacts", out: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(facts.model_dump_json())
        return
    guarantee = f"({facts.exact.epsilon}, {facts.exact.delta})-differentially private"
    if not facts.is_private:
        guarantee = f"NO PRIVACY (a dry run, noise from the public seed {facts.dry_run_noise})"
    typer.echo(
        f"{facts.rows:,} synthetic rows in {out / 'synthetic.csv'}\n"
        f"report: {out / 'report.html'}\n"
        f"{guarantee}, rho spent {facts.rho_spent:.6g} of {facts.rho_budget:.6g} "
        f"in {facts.rounds} rounds, {facts.seconds.total:.1f} s\n"
        f"mean workload error (total variation, not private): {facts.workload_error_tv:.4f}"
    )

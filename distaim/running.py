"""One run of AIM on a DataFrame."""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pandas as pd

from aim_core.errors import MechanismError
from aim_core.models.table_model import TableModel
from aim_core.models.tree_model import TreeModel
from aim_core.tables.files.formats import TableSource
from aim_core.tables.sampled.frames import dtypes_of
from aim_core.tables.sampled.writing import write_cells
from distaim.frames import frame_chunks
from distaim.model import Model
from distaim.schema import Schema
from parties.errors import ConfigError
from parties.estimator.run import Outcome
from parties.local.options import OracleKind, RunOptions
from parties.local.prepare import Prepared, check_options, prepare_chunks
from parties.local.progress import RunProgress
from parties.local.run import outcome_of, public_facts
from parties.wire.events import Emit, Event
from parties.wire.run_facts import PublicRunFacts

Number = int | float | str | Fraction
"""A number of the privacy budget; what stands in a float's or a text's decimals counts exactly."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a run ends with: the synthetic table, the model, and what can be told of the run.

    `facts` and `warnings` are public. `notices` say how many values the schema's `clip` and `other`
    changed: they are for the table's owner only.
    """

    table: pd.DataFrame = field(repr=False)
    model: Model = field(repr=False)
    facts: PublicRunFacts
    notices: tuple[str, ...] = field(repr=False)

    @property
    def warnings(self) -> list[str]:
        """What makes the result of little use, or its guarantee void."""
        return self.facts.warnings


def run(
    table: pd.DataFrame,
    schema: Schema,
    *,
    epsilon: Number,
    delta: Number = "1e-9",
    workload: str | Sequence[Sequence[str]] = "2way",
    max_cells: int | None = None,
    max_model_mb: Number = 80,
    rounds: int | None = None,
    rows: int | None = None,
    seed: int | None = None,
    oracle: str = "plaintext",
    progress: bool | Emit = False,
) -> Result:
    """Run AIM on a table and return a synthetic one of the same columns and types.

    The result is (epsilon, delta)-differentially private for adding or removing one record. With
    the oracle `plaintext` this is central AIM in this process, which has the table anyway: the
    mechanism and the noise of `distaim run --oracle plaintext`, without secure computation. With
    `mpc` three compute parties, ten holders and an estimator run as processes on this machine, as
    `distaim run` does; the table goes to them in a private temporary file.

    `workload` are the marginals that should come out right, as `--workload` takes them or as a list
    of lists of columns; `rounds` None is adaptive; `rows` None samples as many as the model
    estimates. The seed is public and never makes privacy noise. `progress` True shows where the run
    is on standard error; a function takes its events.

    Raises one of `ERRORS`: ConfigError, SchemaError, TableError and others for input that cannot be
    used, JobFailed for processes that failed.
    """
    if not isinstance(schema, Schema):
        raise TypeError(f"the schema must be a distaim.Schema, not {type(schema).__name__}")
    if oracle not in list(OracleKind):
        raise ConfigError(f"there is no oracle {oracle!r}; take one of {', '.join(OracleKind)}")
    with tempfile.TemporaryDirectory(prefix="distaim-") as name, _shown(progress) as emit:
        folder = Path(name)
        options = RunOptions(
            out=folder / "run",
            table=folder / "table.parquet",
            schema=folder / "schema.json",
            epsilon=str(epsilon),
            delta=str(delta),
            workload=workload if isinstance(workload, str) else _listed(workload, folder),
            max_cells=max_cells,
            max_model_mb=str(max_model_mb),
            rounds=rounds,
            rows=rows,
            seed=seed,
            oracle=OracleKind(oracle),
        )
        prepared, started = _prepared(options, table, schema), time.perf_counter()
        outcome = outcome_of(prepared, emit)
        facts = public_facts(prepared, outcome, time.perf_counter() - started)
    # the name of a file with a list says nothing to anybody
    told = facts.model_copy(update={"workload": Path(facts.workload).name})
    return _result(table, prepared, outcome, told)


def _prepared(options: RunOptions, table: pd.DataFrame, schema: Schema) -> Prepared:
    """Check the options and the table; for compute parties, write it for the holders."""
    check_options(options)
    options.out.mkdir()
    source = TableSource(options.table or options.out)
    chunks = frame_chunks(table, schema.core)
    prepared = prepare_chunks(options, source, schema.core, chunks)
    if options.oracle is OracleKind.MPC:
        write_cells(frame_chunks(table, schema.core), source.path)
    return prepared


def _result(
    table: pd.DataFrame, prepared: Prepared, outcome: Outcome, facts: PublicRunFacts
) -> Result:
    if not isinstance(outcome.model, TreeModel):
        raise MechanismError("the run's model cannot be sampled from again; fit it with numpy")
    model = TableModel(outcome.model, prepared.schema, dtypes_of(table, prepared.schema))
    synthetic = model.decode(outcome.codes, prepared.seed)
    return Result(synthetic, Model(model), facts, tuple(prepared.notices))


def _listed(cliques: Sequence[Sequence[str]], folder: Path) -> str:
    """Write a workload's cliques to a file, whose path is the workload as a text."""
    path = folder / "workload.json"
    path.write_text(json.dumps({"cliques": [list(clique) for clique in cliques]}), "utf-8")
    return str(path)


@contextlib.contextmanager
def _shown(progress: bool | Emit) -> Iterator[Emit]:
    """Give what takes a run's events: a display, the caller's function, or nothing."""
    if callable(progress):
        yield progress
    elif progress:
        with RunProgress() as display:
            yield display.show
    else:
        yield _ignore


def _ignore(_event: Event) -> None:
    """Take an event that nobody asked for."""

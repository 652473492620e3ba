"""`distaim compare`: every method on one table, many times, into tables and plots.

Runs in the clear are spread over the processes of a pool, one core each; runs over MPC come first,
one after the other, since each starts a process per role. A finished row is on disk before the
next is begun, so an interrupted comparison goes on where it was.
"""

import hashlib
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from aim_core.tables.schema_file import save_schema
from parties.compare.bench import (
    N_PARTIES,
    THRESHOLD,
    Bench,
    Communication,
    from_outcome,
)
from parties.compare.facts import gather_facts
from parties.compare.page import write_reports
from parties.compare.rows import DISTAIM, Row
from parties.compare.settings import (
    SYNTHFS,
    CompareSettings,
    Task,
    check_settings,
    load_or_save,
    tasks,
)
from parties.errors import ConfigError, JobFailed
from parties.files import check_folder_name, write_whole
from parties.local.network import LocalNetwork
from parties.local.options import RunOptions
from parties.local.parent import follow_parent
from parties.local.prepare import prepare
from parties.local.progress import SweepProgress
from parties.local.supervisor import terminate_as_interrupt


@dataclass(frozen=True)
class _Folder:
    """Where a comparison is kept."""

    out: Path

    @property
    def settings(self) -> Path:
        return self.out / "settings.json"

    @property
    def rows(self) -> Path:
        return self.out / "rows.jsonl"

    def finished(self) -> dict[Task, Row]:
        """Return the rows on disk; a last line that was cut off is left out, and cut away."""
        found: dict[Task, Row] = {}
        if not self.rows.exists():
            return found
        whole, newline, _ = self.rows.read_bytes().rpartition(b"\n")
        write_whole(self.rows, whole + newline)
        for line in whole.splitlines():
            try:
                row = Row.model_validate_json(line)
            except ValidationError as error:
                raise ConfigError(
                    f"{self.rows} has a line that is no row; remove it, or name a new --out"
                ) from error
            found[Task(row.method, row.epsilon, row.seed)] = row
        return found

    def append(self, row: Row) -> None:
        """Write a row so that it is on disk when this returns."""
        with self.rows.open("a", encoding="utf-8") as file:
            file.write(row.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())


def compare(settings: CompareSettings, out: Path, n_jobs: int) -> list[Row]:
    """Run what is missing, write compare.csv, compare.json and compare.html, return all rows.

    Raises ConfigError and AimError for what cannot be compared, and what a run raises; the rows
    finished until then stay in `out` and the same command goes on from there.
    """
    check_folder_name(out, "--out")
    check_settings(settings)
    folder = _Folder(out)
    bench = Bench(settings)  # before the folder is made: it finds most of what can be wrong
    out.mkdir(parents=True, exist_ok=True)
    load_or_save(settings, folder.settings)
    rows = folder.finished()
    due = [task for task in tasks(settings) if task not in rows]
    with SweepProgress(len(due)) as progress, terminate_as_interrupt():
        for task, row in _rows(bench, due, rows, out, n_jobs):
            folder.append(row)
            rows[task] = row
            progress.done(f"{task}: error {row.error_l1:.4f}, {row.seconds:.1f} s")
    write_reports(out, gather_facts(bench), list(rows.values()))
    return list(rows.values())


def _rows(
    bench: Bench, due: Sequence[Task], known: dict[Task, Row], out: Path, n_jobs: int
) -> Iterator[tuple[Task, Row]]:
    """Yield rows as they are finished: first those over MPC, then those of the pool."""
    real = [task for task in due if task.method == DISTAIM]
    communication = next(
        (_sent(row) for task, row in known.items() if task.method == DISTAIM),
        None,
    )
    if bench.settings.plaintext_utility:
        real = real[:1] if communication is None else []
    pooled = [task for task in due if task not in real]
    for task in real:
        row = _run_over_mpc(bench, task, out)
        communication = _sent(row)
        if bench.settings.table == SYNTHFS:
            pooled.append(task)  # it was split otherwise: good for its bytes only
        else:
            yield task, row
    one_run = communication and replace(communication, source="one real run")
    yield from _pooled(bench.settings, pooled, one_run, n_jobs)


def _sent(row: Row) -> Communication:
    return Communication(
        row.communication, row.bytes_up, row.max_bytes_up, row.bytes_down, row.bytes_servers
    )


def _run_over_mpc(bench: Bench, task: Task, out: Path) -> Row:
    """Run DistAIM with all roles as processes, over the training rows."""
    work = out / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        options = _run_options(bench, task, work)
        options.out.mkdir()
        prepared = prepare(options)
        started = time.perf_counter()
        outcome = LocalNetwork(prepared, work / "network", _silent).run()
        seconds = time.perf_counter() - started
        finished = from_outcome(bench, task, outcome, prepared.settings.rho, seconds)
        return bench.row(task, finished, is_real_mpc=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_options(bench: Bench, task: Task, work: Path) -> RunOptions:
    """Write the training rows and their schema; return the options of a run on them."""
    settings, table, schema = bench.settings, work / "train.csv", work / "schema.toml"
    frame = bench.schema.decode(bench.train, np.random.default_rng(task.seed))
    frame.to_csv(table, index=False)
    save_schema(bench.schema, schema)
    return RunOptions(
        out=work / "run",
        table=table,
        schema=schema,
        epsilon=task.epsilon,
        delta=settings.delta,
        workload=settings.workload,
        max_cells=settings.max_cells,
        max_model_mb=settings.max_model_mb,
        rounds=settings.rounds,
        parties=N_PARTIES,
        threshold=THRESHOLD,
        holders=settings.holders,
        split="iid" if settings.table == SYNTHFS else settings.split,
        target=bench.target,
        participation=settings.participation,
        seed=task.seed,
    )


def _silent(_event: object) -> None:
    """Say nothing: a comparison reports whole runs."""


def _pooled(
    settings: CompareSettings,
    due: Sequence[Task],
    one_run: Communication | None,
    n_jobs: int,
) -> Iterator[tuple[Task, Row]]:
    """Run tasks in as many processes as there are jobs; the first error ends all of them."""
    if not due:
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_jobs, context, _begin_worker, (settings,))
    try:
        futures = {
            pool.submit(_work, task, one_run if task.method == DISTAIM else None): task
            for task in due
        }
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise JobFailed(
            "a process of the comparison was killed, perhaps for its memory; the finished rows are "
            "kept: run the same command again, with a smaller --jobs"
        ) from error
    finally:
        _end(pool)


def _end(pool: ProcessPoolExecutor) -> None:
    """Stop a pool at once; what runs in it has no effect that could be lost."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


_BENCH: list[Bench] = []
"""This process's bench, if it is one of the pool's."""


def _begin_worker(settings: CompareSettings) -> None:
    """Prepare a process of the pool: one core, and an end as soon as its parent ends."""
    follow_parent()
    threadpool_limits(1)
    _BENCH[:] = [Bench(settings)]


def _work(task: Task, one_run: Communication | None) -> Row:
    return _BENCH[0].run(task, one_run)


def file_sha256(path: Path) -> str:
    """Return the hash of a table's file; ConfigError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"the table {path} cannot be read ({error})") from error

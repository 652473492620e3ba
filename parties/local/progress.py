"""Progress of a run: a budget bar on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Callable
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from parties.pace import RoundPace, duration, seconds_left
from parties.wire.events import (
    BudgetSpent,
    CliqueSelected,
    Event,
    InputsFrozen,
    MarginalsMeasured,
    Notice,
    RequestLost,
    SamplingBegun,
    UploadsCounted,
    UploadsSent,
)


class _Shown:
    """A progress bar if there is a terminal, shown within a `with`."""

    def __init__(self, bar: Callable[[Console], Progress], total: float, **fields: Any) -> None:
        console = Console(stderr=True)
        self._started = time.monotonic()
        self._bar = bar(console) if console.is_terminal else None
        self._total, self._fields = total, fields
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("starting", total=self._total, **self._fields)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


class RunProgress(_Shown):
    """Takes a run's events and shows where it is."""

    def __init__(self) -> None:
        super().__init__(_make_bar, 1.0, eta="")
        self._pace = RoundPace()

    def show(self, event: Event) -> None:
        """Take one event."""
        text = _describe(event)
        if isinstance(event, Notice) and event.event == "warning" and self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)  # stays above the bar
            return
        used = event.part if isinstance(event, BudgetSpent) else None
        eta = self._eta(event)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, eta=eta, completed=used)
        else:
            budget = "" if used is None else f"  budget {used:6.1%}  {eta}"
            elapsed = time.monotonic() - self._started
            print(f"[{elapsed:7.1f} s] {text}{budget}", file=sys.stderr, flush=True)  # noqa: T201 - the plain progress lines

    def _eta(self, event: Event) -> str:
        """Estimate the time left from the rate at which whole rounds spend the budget."""
        if not isinstance(event, BudgetSpent):
            return ""
        now = time.monotonic()
        if isinstance(event, MarginalsMeasured):
            self._pace.ended(now, event.part)
        left = self._pace.left(now, event.part)
        return "ETA ..." if left is None else f"ETA {duration(left)}"


class SweepProgress(_Shown):
    """Shows how many of a sweep's runs are done and how long the others will take."""

    def __init__(self, n_runs: int) -> None:
        super().__init__(_make_sweep_bar, n_runs)
        self._n_runs, self._n_done = n_runs, 0

    def done(self, text: str) -> None:
        """Note that a run is done."""
        self._n_done += 1
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=self._n_done)
            return
        elapsed = time.monotonic() - self._started
        left = seconds_left(elapsed, self._n_done, self._n_runs - self._n_done) or 0.0
        done = f"{self._n_done} of {self._n_runs} runs"
        print(  # noqa: T201 - the plain progress lines
            f"[{elapsed:7.1f} s] {done}, ETA {duration(left)}: {text}",
            file=sys.stderr,
            flush=True,
        )


def _make_sweep_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
    )


def _make_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        TextColumn("budget"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>5.1f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[eta]}"),
        console=console,
    )


def _describe(event: Event) -> str:
    match event:
        case UploadsCounted():
            text = f"{event.uploads} of {event.holders} holders have uploaded"
        case InputsFrozen():
            text = f"inputs of {event.holders} holders frozen, preparing shares"
        case CliqueSelected():
            names = " × ".join(event.clique)
            text = f"round {event.round}: selected {names} of {event.n_candidates}"
        case MarginalsMeasured(round=0):
            text = f"measured {len(event.cliques)} one-way marginals"
        case MarginalsMeasured():
            names = " × ".join(event.cliques[0])
            text = f"round {event.round}: measured {names}, sigma {event.sigma:.1f}"
        case RequestLost():
            text = f"round {event.round}: a {event.kind} request was paid for and lost"
        case SamplingBegun():
            text = "sampling the synthetic table"
        case UploadsSent():
            text = f"{len(event.upload_bytes)} holders have uploaded"
        case Notice(event="warning"):
            text = f"warning: {event.text}"
        case Notice():
            text = event.text
    return text

"""Where a run's time goes: its fits and its oracle's answers under a stopwatch."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from aim_core.arrays import Counts
from aim_core.domain import Domain
from aim_core.mechanisms.requests import Lost, Measure, Oracle, Select
from aim_core.models.measurement import Fitter, Measurement, Model


class Stopwatch:
    """Seconds by name, each added up over its uses."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Add the time of the `with` block, however it ends, to a name."""
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed


class TimedFitter:
    """A fitter that notes the time of its fits under "fit"."""

    def __init__(self, inner: Fitter, watch: Stopwatch) -> None:
        self._inner, self._watch = inner, watch

    def fit(
        self, domain: Domain, measurements: Sequence[Measurement], warm_start: Model | None
    ) -> Model:
        """Fit, see `Fitter.fit`."""
        with self._watch.running("fit"):
            return self._inner.fit(domain, measurements, warm_start)


class TimedOracle:
    """An oracle that notes the time of its answers, under "score" and "measure"."""

    def __init__(self, inner: Oracle, watch: Stopwatch) -> None:
        self._inner, self._watch = inner, watch

    def select(self, request: Select) -> int | Lost:
        """Select, see `Oracle.select`."""
        with self._watch.running("score"):
            return self._inner.select(request)

    def measure(self, request: Measure) -> list[Counts] | Lost:
        """Measure, see `Oracle.measure`."""
        with self._watch.running("measure"):
            return self._inner.measure(request)

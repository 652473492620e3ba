"""AIM with a manifest's settings against any oracle, with its clock and its events."""

import importlib.metadata
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from aim_core.accounting import parse_rational, rho_from_epsilon_delta
from aim_core.aim import aim, drive
from aim_core.aim_terms import AimResult, AimSettings
from aim_core.domain import Domain
from aim_core.errors import MechanismError
from aim_core.estimation_types import Fitter, Measurement, Model
from aim_core.noise_facts import Noise
from aim_core.requests import Answer, Lost, Measure, Oracle, Request, Select
from aim_core.workload import Workload, closure
from mpc.noise import NoiseCosts, SystemSampler

Emit = Callable[[dict[str, Any]], None]
"""Takes one event: a JSON object with the key "event"."""


@dataclass(frozen=True)
class Draws:
    """Bounds on what a run draws noise for: measured marginals, and candidates of selections."""

    marginals: int
    candidates: int


@dataclass(frozen=True)
class Budget:
    """What (epsilon, delta) pay for with one kind of noise.

    `rho` is the mechanism's zCDP budget. `distance` bounds the statistical distance from the ideal
    noise over a whole run, `per_marginal` and `per_candidate` are what a measured marginal and a
    scored candidate take of it; `delta_reserved` is the part of delta that it costs.
    """

    rho: Fraction
    delta_reserved: Fraction
    distance: Fraction
    per_marginal: Fraction
    per_candidate: Fraction


def noise_terms(costs: NoiseCosts) -> Noise:
    """Say in the mechanism's terms what a noise source costs."""
    return Noise(
        variance_factor=costs.variance_factor,
        gumbel_eta=costs.gumbel_eta,
        select_scale=costs.select_scale,
        measure_slack=costs.measure_slack,
        sigma2_min=costs.sigma2_min,
    )


def run_budget(
    epsilon: str,
    delta: str,
    costs: NoiseCosts,
    workload: Workload,
    rounds: int | None,
    alpha: Fraction,
) -> Budget:
    """Return the budget of a run with `rounds` rounds, None being the adaptive schedule.

    What a run draws is bounded by what it can pay for, also if requests are lost and made again:
    no measurement has more than twice the first one's variance, and a selection costs at least
    1 - alpha of what is left while that still pays for such a measurement.
    """
    n_attributes = len(workload.domain)
    scheduled = (16 * n_attributes if rounds is None else rounds) + n_attributes
    rho = rho_from_epsilon_delta(parse_rational(epsilon, "epsilon"), _delta(delta))
    # the first variance may be the least that the noise can have, and cheaper than scheduled
    payable = max(Fraction(scheduled), 2 * alpha * rho * costs.sigma2_min)
    n_selections = math.ceil(2 * payable / (1 - alpha))
    draws = Draws(
        marginals=math.ceil(2 * payable / alpha), candidates=n_selections * len(closure(workload))
    )
    return budget(epsilon, delta, costs, draws)


def budget(epsilon: str, delta: str, costs: NoiseCosts, draws: Draws) -> Budget:
    """Return rho for (epsilon, delta), after setting aside what the samplers' errors cost.

    With probability ratios within e^(+-L) of the ideal noise's and a statistical distance tau in
    all, a mechanism that is (epsilon - 2 L, delta') private with ideal noise is
    (epsilon, e^L delta' + (1 + e^epsilon) tau) private (docs/protocol.md).
    MechanismError if either takes more than half of what is there.
    """
    wanted_epsilon, wanted_delta = parse_rational(epsilon, "epsilon"), _delta(delta)
    distance = draws.marginals * costs.measure_delta + draws.candidates * costs.select_delta
    # the float's error is far below the allowance; above 700 the check below refuses anyway
    growth = math.ceil(math.exp(min(float(wanted_epsilon), 700.0) + 1e-9)) + 2
    reserved = growth * distance
    loss = 2 * draws.marginals * costs.measure_loss
    if wanted_delta < 2 * reserved or 0 < wanted_epsilon < 2 * loss:
        raise MechanismError(
            f"delta {delta} is too small for epsilon {epsilon} with this noise: its samplers alone "
            f"add {float(reserved):.1g} to delta; take a larger delta or a smaller epsilon"
        )
    # e^L (1 - 2 L) <= 1
    rho = rho_from_epsilon_delta(wanted_epsilon - loss, (wanted_delta - reserved) * (1 - loss))
    return Budget(rho, reserved, distance, costs.measure_delta, costs.select_delta)


def _delta(text: str) -> Fraction:
    delta = parse_rational(text, "delta")
    if not 0 < delta < 1:
        raise MechanismError(f"delta is {text}; it must lie between 0 and 1")
    return delta


def environment() -> dict[str, str]:
    """Return what a fit's last digits depend on besides its input: versions and the processor.

    Two environments that are equal give equal fits; others may differ in rounding.
    """
    packages = ("distaim", "numpy", "mbi", "jax")
    simd = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return {
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
        "processor": f"{platform.system()} {platform.machine()} {' '.join(simd)}",
    }


def first_sigma2(
    settings: AimSettings, workload: Workload, noise: Noise, estimator: Fitter
) -> Fraction:
    """Return the noise variance of the one-way marginals, the largest that a run asks for."""
    request = next(aim(settings, workload, noise, estimator))
    if not isinstance(request, Measure):
        raise MechanismError("the mechanism does not begin with the one-way marginals")
    return request.sigma2


class PlaintextNoise:
    """All dealers' noise in one: Gaussians of variance sigma2 / (m - t), m of them, and so on.

    `n_gaussians` draws of variance sigma2 / `divisor` are summed per cell, `n_gumbels` per
    candidate; (1, 1, 1) is central noise.
    """

    def __init__(self, n_gaussians: int, divisor: int, n_gumbels: int) -> None:
        self._n_gaussians, self._divisor, self._n_gumbels = n_gaussians, divisor, n_gumbels
        self._sampler = SystemSampler()

    def gaussian(self, n: int, sigma2: Fraction) -> np.ndarray:
        """Return (n,) int64 noise in counts."""
        share = sigma2 / self._divisor
        return sum(
            (self._sampler.gaussian(n, share) for _ in range(self._n_gaussians)),
            start=np.zeros(n, np.int64),
        )

    def gumbel(self, n: int, fraction_bits: int) -> np.ndarray:
        """Return (n,) int64 noise in units of 2**-fraction_bits."""
        return sum(
            (self._sampler.gumbel(n, fraction_bits) for _ in range(self._n_gumbels)),
            start=np.zeros(n, np.int64),
        )


@dataclass
class Stopwatch:
    """Seconds by name, each added up over its uses."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, started: float) -> None:
        """Add the time since `started` (time.perf_counter) to a name."""
        elapsed = time.perf_counter() - started
        self.seconds[name] = self.seconds.get(name, 0.0) + elapsed


class TimedEstimator:
    """An estimator that notes the time of its fits under "fit"."""

    def __init__(self, inner: Fitter, watch: Stopwatch) -> None:
        self._inner, self._watch = inner, watch

    def fit(
        self, domain: Domain, measurements: Sequence[Measurement], warm_start: Model | None
    ) -> Model:
        """Fit, see `Fitter.fit`."""
        started = time.perf_counter()
        try:
            return self._inner.fit(domain, measurements, warm_start)
        finally:
            self._watch.add("fit", started)


class TimedOracle:
    """An oracle that notes the time of its answers, under "score" and "measure"."""

    def __init__(self, inner: Oracle, watch: Stopwatch) -> None:
        self._inner, self._watch = inner, watch

    def select(self, request: Select) -> int | Lost:
        """Select, see `Oracle.select`."""
        started = time.perf_counter()
        try:
            return self._inner.select(request)
        finally:
            self._watch.add("score", started)

    def measure(self, request: Measure) -> list[np.ndarray] | Lost:
        """Measure, see `Oracle.measure`."""
        started = time.perf_counter()
        try:
            return self._inner.measure(request)
        finally:
            self._watch.add("measure", started)


@dataclass(frozen=True)
class Outcome:
    """What a run ends with: the synthetic codes, (n_rows, d), the model, the public facts."""

    codes: np.ndarray = field(repr=False)
    model: Model = field(repr=False)
    facts: dict[str, Any]


def run_mechanism(
    settings: AimSettings,
    workload: Workload,
    noise: Noise,
    *,
    estimator_name: str,
    oracle: Oracle,
    n_rows: int | None,
    sample_seed: int,
    emit: Emit,
) -> Outcome:
    """Drive AIM to its end, sample the synthetic table, and gather what can be told about it.

    `n_rows` None samples as many rows as the model estimates. Everything in `facts` is a public
    function of what the oracle released.
    """
    from aim_core.fitters import make_fitter  # loads jax only when asked to

    watch = Stopwatch()
    estimator = TimedEstimator(make_fitter(estimator_name), watch)

    def observe(request: Request, answer: Answer) -> None:
        emit(_event(request, answer, settings.rho))

    result = drive(aim(settings, workload, noise, estimator), TimedOracle(oracle, watch), observe)
    emit({"event": "sample"})
    started = time.perf_counter()
    rows = n_rows if n_rows is not None else max(1, round(result.model.total))
    codes = result.model.sample(rows, np.random.default_rng(sample_seed))
    watch.add("sample", started)
    return Outcome(codes, result.model, _facts(result, noise, watch))


def _event(request: Request, answer: Answer, rho_budget: Fraction) -> dict[str, Any]:
    common = {
        "round": request.round,
        "rho_used": float(request.rho_used),
        "rho_budget": float(rho_budget),
    }
    if isinstance(answer, Lost):
        kind = "select" if isinstance(request, Select) else "measure"
        return {"event": "lost", **common, "kind": kind}
    if isinstance(request, Select) and isinstance(answer, int):
        clique, n_candidates = request.candidates[answer], len(request.candidates)
        return {"event": "select", **common, "clique": clique, "n_candidates": n_candidates}
    if isinstance(request, Measure):
        sigma = math.sqrt(request.sigma2)
        return {"event": "measure", **common, "cliques": request.cliques, "sigma": sigma}
    raise MechanismError("a selection was answered by something that is no index")


def _facts(result: AimResult, noise: Noise, watch: Stopwatch) -> dict[str, Any]:
    rounds = [
        {
            "round": record.round,
            "clique": list(record.clique),
            "sigma": math.sqrt(record.sigma2),
            "true_sigma": noise.true_sigma(record.sigma2),
            "epsilon": float(record.selection_epsilon),
            "rho_spent": float(record.rho_spent),
            "annealed": record.annealed,
            "n_candidates": record.n_candidates,
        }
        for record in result.rounds
    ]
    return {
        "rho_initial": float(result.rho_initial),
        "rho_spent": float(result.rho_spent),
        "rho_spent_exact": str(result.rho_spent),
        "model_total": result.model.total,
        "rounds": rounds,
        "seconds": watch.seconds,
    }

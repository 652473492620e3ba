"""AIM with a manifest's settings against any oracle, with its clock and its events."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aim_core.counts.workload import Workload, closure
from aim_core.errors import MechanismError
from aim_core.mechanisms.aim import aim, drive
from aim_core.mechanisms.aim_terms import AimResult, AimSettings
from aim_core.mechanisms.requests import Answer, Lost, Measure, Oracle, Request, Select
from aim_core.models.measurement import Fitter, Model
from aim_core.privacy.noise_facts import Noise
from aim_core.privacy.zcdp import parse_rational, rho_from_epsilon_delta
from mpc.noise.sources import NoiseCosts
from parties.estimator.stopwatch import Stopwatch, TimedFitter, TimedOracle
from parties.wire.events import (
    CliqueSelected,
    Emit,
    Event,
    MarginalsMeasured,
    RequestLost,
    SamplingBegun,
)
from parties.wire.messages import FinishAnswer
from parties.wire.run_facts import MechanismFacts, RoundFacts


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


def first_sigma2(
    settings: AimSettings, workload: Workload, noise: Noise, estimator: Fitter
) -> Fraction:
    """Return the noise variance of the one-way marginals, the largest that a run asks for."""
    request = next(aim(settings, workload, noise, estimator))
    if not isinstance(request, Measure):
        raise MechanismError("the mechanism does not begin with the one-way marginals")
    return request.sigma2


@dataclass(frozen=True)
class Outcome:
    """What a run ends with: the synthetic codes, (n_rows, d), the model, the public facts.

    `parties` is what it cost each compute party, `upload_bytes` what each holder has sent; both
    are empty where the oracle is none of them.
    """

    codes: NDArray[np.int64] = field(repr=False)
    model: Model = field(repr=False)
    facts: MechanismFacts
    parties: Sequence[FinishAnswer] = ()
    upload_bytes: Mapping[str, int] = field(default_factory=dict)


def run_mechanism(
    settings: AimSettings,
    workload: Workload,
    noise: Noise,
    *,
    fitter_name: str,
    oracle: Oracle,
    n_rows: int | None,
    sample_seed: int,
    emit: Emit,
) -> Outcome:
    """Drive AIM to its end, sample the synthetic table, and gather what can be told about it.

    `n_rows` None samples as many rows as the model estimates. Everything in `facts` is a public
    function of what the oracle released.
    """
    from aim_core.models.fitters import make_fitter  # loads jax only when asked to

    watch = Stopwatch()
    fitter = TimedFitter(make_fitter(fitter_name), watch)

    def observe(request: Request, answer: Answer) -> None:
        emit(_event(request, answer, settings.rho))

    result = drive(aim(settings, workload, noise, fitter), TimedOracle(oracle, watch), observe)
    emit(SamplingBegun())
    rows = n_rows if n_rows is not None else max(1, round(result.model.total))
    with watch.running("sample"):
        codes = result.model.sample(rows, np.random.default_rng(sample_seed))
    return Outcome(codes, result.model, _facts(result, noise, watch.seconds))


def _event(request: Request, answer: Answer, rho_budget: Fraction) -> Event:
    number, used, budget = request.round, float(request.rho_used), float(rho_budget)
    if isinstance(answer, Lost):
        kind: Literal["select", "measure"] = "select" if isinstance(request, Select) else "measure"
        return RequestLost(round=number, rho_used=used, rho_budget=budget, kind=kind)
    if isinstance(request, Measure):
        return MarginalsMeasured(
            round=number,
            rho_used=used,
            rho_budget=budget,
            cliques=request.cliques,
            sigma=math.sqrt(request.sigma2),
        )
    if not isinstance(answer, int):
        raise MechanismError("a selection was answered by something that is no index")
    return CliqueSelected(
        round=number,
        rho_used=used,
        rho_budget=budget,
        clique=request.candidates[answer],
        n_candidates=len(request.candidates),
    )


def _facts(result: AimResult, noise: Noise, seconds: dict[str, float]) -> MechanismFacts:
    rounds = [
        RoundFacts(
            round=record.round,
            clique=record.clique,
            sigma=math.sqrt(record.sigma2),
            true_sigma=noise.true_sigma(record.sigma2),
            selection_epsilon=float(record.selection_epsilon),
            rho_spent=float(record.rho_spent),
            annealed=record.annealed,
            n_candidates=record.n_candidates,
        )
        for record in result.rounds
    ]
    return MechanismFacts(
        rho_initial=float(result.rho_initial),
        rho_spent=float(result.rho_spent),
        rho_spent_exact=str(result.rho_spent),
        model_total=result.model.total,
        rounds=rounds,
        seconds=seconds,
    )

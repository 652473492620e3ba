"""AIM with a manifest's settings against any oracle, with its clock and its events."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np

from aim_core.arrays import CodeTable
from aim_core.counts.workload import Workload
from aim_core.errors import MechanismError
from aim_core.mechanisms.aim import aim, drive
from aim_core.mechanisms.aim_terms import AimResult, AimSettings
from aim_core.mechanisms.aim_warnings import final_warnings, foreseen_warnings
from aim_core.mechanisms.requests import Answer, Lost, Measure, Oracle, Request, Select
from aim_core.models.measurement import Model
from aim_core.privacy.noise_facts import Noise
from parties.estimator.stopwatch import Stopwatch, TimedFitter, TimedOracle
from parties.wire.events import (
    CliqueSelected,
    Emit,
    Event,
    MarginalsMeasured,
    Notice,
    RequestLost,
    SamplingBegun,
)
from parties.wire.messages import FinishAnswer
from parties.wire.run_facts import MechanismFacts, RoundFacts


@dataclass(frozen=True)
class Outcome:
    """What a run ends with: the synthetic codes, (n_rows, d), the model, the public facts.

    `parties` is what it cost each compute party, `upload_bytes` what each holder has sent; both
    are empty where the oracle is none of them.
    """

    codes: CodeTable = field(repr=False)
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
    function of what the oracle released. Warnings are emitted as soon as they are certain, before
    anything is spent, and once more with the estimated number of records.
    """
    from aim_core.models.fitters import make_fitter  # loads jax only when asked to

    watch = Stopwatch()
    fitter = TimedFitter(make_fitter(fitter_name), watch)

    def observe(request: Request, answer: Answer) -> None:
        emit(_event(request, answer, settings.rho))

    emit_warnings(foreseen_warnings(settings, workload.domain, noise), emit)
    result = drive(aim(settings, workload, noise, fitter), TimedOracle(oracle, watch), observe)
    warnings = final_warnings(result, settings, workload.domain)
    emit_warnings(warnings, emit)
    emit(SamplingBegun())
    rows = n_rows if n_rows is not None else max(1, round(result.model.total))
    with watch.running("sample"):
        codes = result.model.sample(rows, np.random.default_rng(sample_seed))
    return Outcome(codes, result.model, _facts(result, noise, watch.seconds, warnings))


def emit_warnings(texts: Sequence[str], emit: Emit) -> None:
    """Tell whoever watches what public facts show of a result that is of little use."""
    for text in texts:
        emit(Notice(event="warning", text=text))


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


def _facts(
    result: AimResult, noise: Noise, seconds: dict[str, float], warnings: list[str]
) -> MechanismFacts:
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
        warnings=warnings,
    )

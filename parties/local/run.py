"""`distaim run`: the whole system on one machine, each role in its own process."""

import shutil
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from aim_core.mechanisms.plaintext import GrowingOracle, PlaintextOracle
from aim_core.mechanisms.requests import Oracle
from aim_core.models.model_file import save_model
from aim_core.studies.errors_of_tables import workload_errors
from aim_core.studies.splits import assign
from aim_core.tables.sampled.writing import write_csv
from mpc.steps.job import FRACTION_BITS
from parties.agreement.values import EngineKind
from parties.errors import JobFailed
from parties.estimator.job import MODEL_FILE
from parties.estimator.run import Outcome, emit_warnings, run_mechanism
from parties.files import write_whole
from parties.holder.submit import read_codes
from parties.local.network import LocalNetwork
from parties.local.options import OracleKind, RunOptions
from parties.local.prepare import (
    Prepared,
    check_options,
    plaintext_noise,
    prepare,
    privacy_warnings,
)
from parties.local.report import write_report
from parties.wire.environment import fitting_packages, versions_of
from parties.wire.events import BudgetSpent, Emit, Event, Notice
from parties.wire.failures import to_body
from parties.wire.messages import FinishAnswer
from parties.wire.run_facts import (
    ExactFacts,
    FailureFacts,
    MechanismFacts,
    PublicRunFacts,
    RunFacts,
    RunSeconds,
)


def run(options: RunOptions, emit: Emit) -> RunFacts:
    """Run everything and return what `run.json` holds; `emit` takes events while it works.

    Raises ConfigError and AimError for input that cannot be used, MpcError and PartyError for a
    run that failed. What a failed run has released stays in the out folder, with `error.json`.
    """
    check_options(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.mkdir()
    try:
        prepared = prepare(options)
    except BaseException:
        shutil.rmtree(options.out)
        raise
    started = time.perf_counter()
    emit_warnings(prepared.notices, emit)  # for the owner: not among what was released
    told: list[Event] = []

    def tell(event: Event) -> None:
        told.append(event)
        emit(event)

    try:
        outcome = outcome_of(prepared, tell)
    except Exception as error:
        _keep_partial_results(options.out, told, error)
        raise
    except KeyboardInterrupt:
        stopped = JobFailed("the run was interrupted; start it again with a new --out")
        _keep_partial_results(options.out, told, stopped)
        raise
    emit(Notice(event="report", text="comparing and writing the results"))
    return _write_results(prepared, outcome, started)


def outcome_of(prepared: Prepared, emit: Emit) -> Outcome:
    """Run the mechanism, over compute parties or in this process, and return what it ends with.

    Compute parties need the folder `out` of the options, and leave the transcripts in it.
    """
    emit_warnings(privacy_warnings(prepared), emit)
    if prepared.options.oracle is OracleKind.PLAINTEXT:
        return _run_in_the_clear(prepared, emit)
    work = prepared.options.out / "work"
    try:
        return LocalNetwork(prepared, work, emit).run()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_in_the_clear(prepared: Prepared, emit: Emit) -> Outcome:
    options = prepared.options
    return run_mechanism(
        prepared.settings,
        prepared.inputs.workload,
        prepared.noise,
        fitter_name=options.estimator,
        oracle=_plaintext_oracle(prepared),
        n_rows=options.rows,
        sample_seed=prepared.seed,
        emit=emit,
    )


def _plaintext_oracle(prepared: Prepared) -> Oracle:
    inputs, options = prepared.inputs, prepared.options
    noise_source = plaintext_noise(options)
    participation = prepared.settings.participation
    if participation.rate == 1:
        return PlaintextOracle(inputs.domain, prepared.real, noise_source, FRACTION_BITS)
    codes = read_codes(prepared.table, inputs)
    owners = assign(
        codes, inputs.domain, options.holders, options.split, prepared.seed, options.target
    )
    return GrowingOracle(
        inputs.workload, np.concatenate(codes), owners, participation, noise_source, FRACTION_BITS
    )


def _keep_partial_results(out: Path, told: list[Event], error: Exception) -> None:
    """Write what a failed run has released so far, and why it failed."""
    paid = [event for event in told if isinstance(event, BudgetSpent)]
    last_round = max((event.round for event in paid), default=0)
    if isinstance(error, JobFailed):
        error.round = last_round
    body = to_body(error, last_round)
    facts = FailureFacts(**dict(body), events=told)
    write_whole(out / "error.json", facts.model_dump_json(indent=1))


def _write_results(prepared: Prepared, outcome: Outcome, started: float) -> RunFacts:
    out, schema = prepared.options.out, prepared.schema
    table = schema.decode(outcome.codes, np.random.default_rng([prepared.seed, 1]))
    write_csv(table, out / "synthetic.csv")
    save_model(out / MODEL_FILE, outcome.model, schema)
    errors = workload_errors(prepared.real, outcome.codes, prepared.inputs.workload)
    public = public_facts(prepared, outcome, time.perf_counter() - started)
    facts = RunFacts(
        **dict(public), workload_error_l1=errors.mean_l1, workload_error_tv=errors.mean_tv
    )
    write_whole(out / "run.json", facts.model_dump_json(indent=1))
    write_report(out / "report.html", prepared, outcome, errors, facts)
    return facts


def public_facts(prepared: Prepared, outcome: Outcome, total_seconds: float) -> PublicRunFacts:
    """Return all that can be told of a run: what was asked for, what came of it, what it cost."""
    options, facts, parties = prepared.options, outcome.facts, outcome.parties
    exact = _exact(prepared, facts)
    return PublicRunFacts(
        is_private=options.dry_run_noise is None,
        dry_run_noise=options.dry_run_noise,
        warnings=[*privacy_warnings(prepared), *facts.warnings],
        epsilon=float(Fraction(exact.epsilon)),
        delta=float(Fraction(exact.delta)),
        rho_budget=float(prepared.settings.rho),
        rho_spent=facts.rho_spent,
        delta_reserved=float(prepared.budget.delta_reserved),
        exact=exact,
        rounds=len(facts.rounds),
        selected=[entry.clique for entry in facts.rounds],
        sigmas=[entry.sigma for entry in facts.rounds],
        true_sigmas=[entry.true_sigma for entry in facts.rounds],
        workload=options.workload,
        oracle=options.oracle,
        estimator=options.estimator,
        engine=options.engine,
        noise_variance_factor=float(prepared.noise.variance_factor),
        parties=options.parties,
        threshold=options.threshold,
        holders=options.holders,
        participation=options.participation,
        rows=len(outcome.codes),
        n_max=prepared.settings.n_max,
        seed=prepared.seed,
        cells=sum(prepared.inputs.sizes),
        candidates=len(prepared.inputs.candidates),
        seconds=_seconds(facts, total_seconds),
        bytes_sent=[sum(step.bytes_sent for step in party.steps.values()) for party in parties],
        comm_rounds=_comm_rounds(parties),
        upload_bytes=dict(outcome.upload_bytes),
        peak_rss_mb=[round(party.peak_rss_mb, 1) for party in parties],
        versions=versions_of(_packages(options)),
    )


def _exact(prepared: Prepared, facts: MechanismFacts) -> ExactFacts:
    return ExactFacts(
        epsilon=prepared.options.epsilon,
        delta=prepared.options.delta,
        rho_budget=str(prepared.settings.rho),
        rho_spent=facts.rho_spent_exact,
        delta_reserved=str(prepared.budget.delta_reserved),
    )


def _seconds(facts: MechanismFacts, total: float) -> RunSeconds:
    """Return the seconds of a run's steps, 0 for one that it did not have."""
    steps = [name for name in RunSeconds.model_fields if name != "total"]
    taken = {step: round(facts.seconds.get(step, 0.0), 3) for step in steps}
    return RunSeconds(**taken, total=round(total, 3))


def _comm_rounds(parties: Sequence[FinishAnswer]) -> dict[str, int]:
    """Return the rounds per step; all parties count the same."""
    return {step: cost.rounds for step, cost in parties[0].steps.items()} if parties else {}


def _packages(options: RunOptions) -> list[str]:
    """Return the packages that a run with these options uses."""
    packages = [*fitting_packages(options.estimator), "pandas"]
    if options.oracle is OracleKind.MPC:
        packages += ["uvicorn", "httpx", "cryptography"]
        packages += ["mpyc"] if options.engine is EngineKind.SHAMIR else []
    return packages

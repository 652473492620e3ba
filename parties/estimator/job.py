"""The estimator's process: drives AIM over the compute parties' API. It never sees a row.

All it receives are the index and the noisy marginals that the parties open, so nothing it does,
and nobody who takes it over, can hurt the privacy of the data.
"""

import numpy as np

from aim_core.models.model_file import save_model
from aim_core.tables.sampled.writing import write_csv
from parties.agreement.approval import load_approved_manifest
from parties.agreement.derived import aim_settings, manifest_noise
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs, public_inputs
from parties.estimator.oracle import MpcOracle
from parties.estimator.run import Outcome, run_mechanism
from parties.estimator.stopwatch import Stopwatch
from parties.files import sync_file, write_whole
from parties.identity.signatures import Signer
from parties.setup.config import EstimatorConfig
from parties.wire.entries import DriveLine, FailedLine, ResultLine
from parties.wire.environment import environment
from parties.wire.events import Emit, Notice
from parties.wire.messages import FinishAnswer
from parties.wire.run_facts import JobFacts
from parties.wire.transcript import Transcript, values_digest

MODEL_FILE = "model.npz"
"""The fitted model among a job's results."""

CODES_FILE = "codes.npy"
"""The synthetic table's codes among a job's results."""

RESULTS_FILE = "results.json"
"""A job's `JobFacts`; where they are, the job is done."""


def run_job(config: EstimatorConfig, emit: Emit) -> None:
    """Run one job to its end; write `codes.npy`, `model.npz`, `results.json` to the out folder.

    A job that was stopped is run again in the same way: the mechanism is deterministic, so it asks
    what was asked before, under the same ids, and the parties repeat their answers at no cost.

    Raises what the parties answer with, AnswersDiffer if they contradict each other, and
    PartyUnreachable for one that cannot be reached.
    """
    if (config.out / RESULTS_FILE).exists():
        text = f"the job is done, its results are in {config.out}"
        emit(Notice(event="done", text=text))
        return
    manifest = load_approved_manifest(config.manifest)
    inputs = public_inputs(manifest)
    config.out.mkdir(parents=True, exist_ok=True)
    transcript = Transcript(config.transcript, _first_line(manifest, config), Signer(config.key))
    try:
        outcome, facts = _drive(manifest, inputs, config, emit)
        if not any(entry["event"] == "result" for entry in transcript.entries):
            transcript.write(_last_line(config, outcome, facts.parties))
    except Exception as error:
        transcript.write(FailedLine(error=type(error).__name__, text=str(error)[:2000]))
        raise
    finally:
        transcript.close()
    _write_results(config, inputs, outcome, facts)


def _drive(
    manifest: Manifest, inputs: PublicInputs, config: EstimatorConfig, emit: Emit
) -> tuple[Outcome, JobFacts]:
    """Ask the parties all that the mechanism asks; return what it and they ended with."""
    watch = Stopwatch()
    with MpcOracle(manifest, inputs, config, emit) as oracle:
        with watch.running("collect"):
            holders = oracle.collect()
        outcome = run_mechanism(
            aim_settings(manifest, len(holders)),
            inputs.workload,
            manifest_noise(manifest),
            fitter_name=config.estimator,
            oracle=oracle,
            n_rows=config.rows,
            sample_seed=config.sample_seed,
            emit=emit,
        )
        parties = oracle.finish()
    # of a step that is timed here and at the parties, the parties' seconds count
    seconds = {**outcome.facts.seconds, **_step_seconds(parties), **watch.seconds}
    fields = {**dict(outcome.facts), "seconds": seconds}
    return outcome, JobFacts(**fields, holders=holders, parties=parties)


def _write_results(
    config: EstimatorConfig, inputs: PublicInputs, outcome: Outcome, facts: JobFacts
) -> None:
    np.save(config.out / CODES_FILE, outcome.codes, allow_pickle=False)
    save_model(config.out / MODEL_FILE, outcome.model, inputs.schema)
    if config.table is not None:
        table = inputs.schema.decode(outcome.codes, np.random.default_rng([config.sample_seed, 1]))
        write_csv(table, config.table)
    for name in (CODES_FILE, MODEL_FILE):
        sync_file(config.out / name)
    # the last step: where the results are, everything is whole
    write_whole(config.out / RESULTS_FILE, facts.model_dump_json())


def _first_line(manifest: Manifest, config: EstimatorConfig) -> DriveLine:
    return DriveLine(
        manifest=manifest.digest,
        name=manifest.estimator.name,
        estimator=config.estimator,
        environment=environment(config.estimator),
    )


def _last_line(
    config: EstimatorConfig, outcome: Outcome, parties: list[FinishAnswer]
) -> ResultLine:
    return ResultLine(
        rows=len(outcome.codes),
        sample_seed=config.sample_seed,
        codes=values_digest(outcome.codes),
        rho_spent=outcome.facts.rho_spent_exact,
        ledger=parties[0].ledger_head,
        transcripts=[party.transcript_head for party in parties],
    )


def _step_seconds(parties: list[FinishAnswer]) -> dict[str, float]:
    """Return the slowest party's seconds per step."""
    steps = sorted({step for party in parties for step in party.steps})
    return {
        step: max(party.steps[step].seconds for party in parties if step in party.steps)
        for step in steps
    }

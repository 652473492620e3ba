"""The estimator's process: drives AIM over the compute parties' API. It never sees a row.

All it receives are the index and the noisy marginals that the parties open, so nothing it does,
and nobody who takes it over, can hurt the privacy of the data.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from fractions import Fraction
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from aim_core.aim import AimSettings, Lost, Measure, Select
from aim_core.model_file import save_model
from mpc.errors import MpcError, PeerLost, PeerTimeout
from mpc.retrying import Backoff, Deadline, attempts, retry
from parties.approval import load_approved_manifest
from parties.client import PartyClient
from parties.config import EstimatorConfig
from parties.engine import manifest_noise
from parties.errors import AnswersDiffer, ChargeLost, JobFailed, NotReady, PartyUnreachable
from parties.files import sync_file, write_whole
from parties.manifest import (
    Manifest,
    PublicInputs,
    parse_fraction,
    participation,
    public_inputs,
)
from parties.mechanism import Emit, Outcome, environment, run_mechanism
from parties.messages import (
    FinishAnswer,
    FreezeRequest,
    MeasureRequest,
    SelectAnswer,
    SelectRequest,
    decode_marginals,
    encode_counts,
    pack,
    parse,
)
from parties.signatures import Signer
from parties.transcript import Transcript, values_digest
from parties.transcript_entries import Drive, Failed, Result

Reply = TypeVar("Reply")

MODEL_FILE = "model.npz"
"""The fitted model among a job's results."""

_RESULTS = "results.json"
_POLL = Backoff(0.2, 1.0)
_OUTAGE = Backoff(1.0, 10.0)
_AWAY = (NotReady, PartyUnreachable, PeerLost, PeerTimeout)
"""What a party says, or somebody says of it, that may be back soon."""

_PATIENCE_SECONDS = 30.0
"""How long the other parties may take to say what went wrong after one has failed."""


def run_job(config: EstimatorConfig, emit: Emit) -> None:
    """Run one job to its end; write `codes.npy`, `model.npz`, `results.json` to the out folder.

    A job that was stopped is run again in the same way: the mechanism is deterministic, so it asks
    what was asked before, under the same ids, and the parties repeat their answers at no cost.

    Raises what the parties answer with, AnswersDiffer if they contradict each other, and
    PartyUnreachable for one that cannot be reached.
    """
    if (config.out / _RESULTS).exists():
        emit({"event": "done", "text": f"the job is done, its results are in {config.out}"})
        return
    manifest = load_approved_manifest(config.manifest)
    inputs = public_inputs(manifest)
    config.out.mkdir(parents=True, exist_ok=True)
    transcript = Transcript(config.transcript, _first_line(manifest, config), Signer(config.key))
    try:
        with MpcOracle(manifest, inputs, config, emit) as oracle:
            started = time.perf_counter()
            holders = oracle.collect()
            collect_seconds = time.perf_counter() - started
            outcome = run_mechanism(
                aim_settings(manifest, len(holders)),
                inputs.workload,
                manifest_noise(manifest),
                estimator_name=config.estimator,
                oracle=oracle,
                n_rows=config.rows,
                sample_seed=config.sample_seed,
                emit=emit,
            )
            reports = oracle.finish()
        if not any(entry["event"] == "result" for entry in transcript.entries):
            transcript.write(_last_line(config, outcome, reports))
    except Exception as error:
        transcript.write(Failed(error=type(error).__name__, text=str(error)[:2000]))
        raise
    finally:
        transcript.close()
    seconds = {**outcome.facts["seconds"], **_step_seconds(reports), "collect": collect_seconds}
    facts = {
        **outcome.facts,
        "seconds": seconds,
        "holders": holders,
        "parties": [report.model_dump() for report in reports],
    }
    _write_results(config, inputs, outcome, facts)


def _write_results(
    config: EstimatorConfig, inputs: PublicInputs, outcome: Outcome, facts: dict[str, Any]
) -> None:
    np.save(config.out / "codes.npy", outcome.codes, allow_pickle=False)
    save_model(config.out / MODEL_FILE, outcome.model)
    if config.table is not None:
        table = inputs.schema.decode(outcome.codes, np.random.default_rng([config.sample_seed, 1]))
        table.to_csv(config.table, index=False)
    for name in ("codes.npy", MODEL_FILE):
        sync_file(config.out / name)
    write_whole(config.out / _RESULTS, json.dumps(facts))  # the last step: what is there is whole


def _first_line(manifest: Manifest, config: EstimatorConfig) -> Drive:
    return Drive(
        manifest=manifest.digest,
        name=manifest.estimator.name,
        estimator=config.estimator,
        environment=environment(),
    )


def _last_line(config: EstimatorConfig, outcome: Outcome, reports: list[FinishAnswer]) -> Result:
    return Result(
        rows=len(outcome.codes),
        sample_seed=config.sample_seed,
        codes=values_digest(outcome.codes),
        rho_spent=outcome.facts["rho_spent_exact"],
        ledger=reports[0].ledger_head,
        transcripts=[report.transcript_head for report in reports],
    )


def aim_settings(manifest: Manifest, n_holders: int) -> AimSettings:
    """Return the manifest's mechanism as AIM's settings; `n_holders` have uploaded."""
    mechanism = manifest.mechanism
    return AimSettings(
        rho=parse_fraction(mechanism.rho),
        n_max=manifest.n_max,
        y_max=manifest.y_max,
        rounds=mechanism.rounds,
        max_model_mb=float(parse_fraction(mechanism.max_model_mb)),
        seed=mechanism.seed,
        alpha=parse_fraction(mechanism.alpha),
        participation=participation(manifest, n_holders),
    )


class MpcOracle:
    """Answers AIM's requests by asking all compute parties at once; their answers must agree."""

    def __init__(
        self, manifest: Manifest, inputs: PublicInputs, config: EstimatorConfig, emit: Emit
    ) -> None:
        self._manifest, self._config, self._inputs = manifest, config, inputs
        self._emit = emit
        self._place = {clique: place for place, clique in enumerate(inputs.candidates)}
        self._clients = [
            PartyClient(manifest, pid, config.identity, config.request_timeout)
            for pid in range(manifest.n_parties)
        ]
        # requests to a party that hangs keep their threads until they time out
        self._pool = ThreadPoolExecutor(4 * manifest.n_parties)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        for client in self._clients:
            client.__exit__(kind, error, traceback)

    def collect(self) -> list[str]:
        """Wait for the uploads, freeze them, and return the holders that take part."""
        uploads = self._wait_for_uploads()
        body = FreezeRequest(uploads=uploads).model_dump_json().encode()
        self._emit({"event": "freeze", "holders": len(uploads)})
        self._ask("/v1/freeze", body)
        return list(uploads)

    def select(self, request: Select) -> int | Lost:
        """Return the parties' choice; AnswersDiffer if they do not say the same."""
        widths, payload = encode_counts(request.model_counts)
        header = SelectRequest(
            round=request.round,
            candidates=[self._place[clique] for clique in request.candidates],
            epsilon=str(request.epsilon),
            biases=list(request.biases),
            widths=widths,
        )
        body = pack(header.model_dump(), payload)
        try:
            answers = self._ask(f"/v1/select/{_request_id(request)}", body)
        except ChargeLost:
            return Lost()
        index = parse(SelectAnswer, _same(answers, request.round)).index
        if index >= len(request.candidates):
            raise AnswersDiffer("the parties chose a candidate that was not asked for")
        return index

    def measure(self, request: Measure) -> list[np.ndarray] | Lost:
        """Return the noisy marginals; AnswersDiffer if the parties do not say the same."""
        message = MeasureRequest(
            round=request.round,
            candidates=[self._place[clique] for clique in request.cliques],
            sigma2=str(Fraction(request.sigma2)),
        )
        body = message.model_dump_json().encode()
        try:
            answers = self._ask(f"/v1/measure/{_request_id(request)}", body)
        except ChargeLost:
            return Lost()
        sizes = [self._inputs.domain.n_cells(clique) for clique in request.cliques]
        return decode_marginals(_same(answers, request.round), sizes)

    def finish(self) -> list[FinishAnswer]:
        """End the job and return what it cost each party."""
        reports = [parse(FinishAnswer, answer) for answer in self._ask("/v1/finish", b"{}")]
        if len({report.ledger_head for report in reports}) != 1:
            raise AnswersDiffer("the parties' ledgers differ; have their transcripts audited")
        return reports

    def _wait_for_uploads(self) -> dict[str, str]:
        n_seen = -1
        for _ in attempts(Deadline(self._config.collect_timeout), _POLL):
            statuses = self._at_all(lambda c: c.wait_ready(self._ready_seconds))
            for status in statuses:
                if status.state == "failed":
                    raise JobFailed(f"compute party {status.party} has failed", party=status.party)
                if status.inputs is not None:
                    return dict(sorted(status.inputs.items()))  # this job was begun before
            common = set.intersection(*(set(status.uploads.items()) for status in statuses))
            if len(common) != n_seen:
                n_seen = len(common)
                holders = len(self._manifest.holders)
                self._emit({"event": "uploads", "uploads": n_seen, "holders": holders})
            if n_seen == len(self._manifest.holders):
                break
        if n_seen < self._manifest.min_holders:
            raise JobFailed(
                f"{n_seen} holders uploaded in {self._config.collect_timeout:.0f} s, the "
                f"manifest asks for {self._manifest.min_holders}; extend the time or remind "
                "the holders"
            )
        return dict(sorted(common))

    @property
    def _ready_seconds(self) -> float:
        return max(self._config.connect_timeout, self._config.outage_seconds)

    def _ask(self, path: str, body: bytes) -> list[bytes]:
        """Ask all parties; while one of them is away, wait and ask again, under the same id."""

        def ask() -> list[bytes]:
            return self._at_all(lambda client: client.post(path, body))

        def wait_for_them(error: Exception) -> None:
            self._emit({"event": "waiting", "text": f"waiting for the parties: {error}"})
            self._at_all(lambda client: client.wait_ready(self._ready_seconds))

        deadline = Deadline(self._config.outage_seconds)
        return retry(ask, _AWAY, deadline, _OUTAGE, wait_for_them)

    def _at_all(self, action: Callable[[PartyClient], Reply]) -> list[Reply]:
        futures = [self._pool.submit(action, client) for client in self._clients]
        done, waiting = wait(futures, return_when="FIRST_EXCEPTION")
        # whoever is not ready has not taken the request, and the others may be waiting for it
        if waiting and not any(isinstance(future.exception(), NotReady) for future in done):
            wait(waiting, timeout=_PATIENCE_SECONDS)
        errors = [future.exception() for future in futures if future.done()]
        found = [error for error in errors if error is not None]
        if found:
            raise min(found, key=_vagueness)
        return [future.result() for future in futures]


def _request_id(request: Select | Measure) -> str:
    """Return a request's id: the same for the same request of the same job, always."""
    kind = "select" if isinstance(request, Select) else "measure"
    again = f"-{request.attempt}" if request.attempt > 1 else ""
    return f"{kind}-{request.round}{again}"


def _vagueness(error: BaseException) -> int:
    """Order errors so that the one that tells most comes first.

    A request that is lost at one party is lost: it does not matter who is away meanwhile.
    """
    if isinstance(error, ChargeLost):
        return 0
    # a plain MpcError only says that somebody stopped
    vague = isinstance(error, PartyUnreachable | NotReady | JobFailed) or type(error) is MpcError
    return 2 if vague else 1


def _same(answers: list[bytes], round_number: int) -> bytes:
    if any(answer != answers[0] for answer in answers):
        odd = next(pid for pid, answer in enumerate(answers) if answers.count(answer) == 1)
        raise AnswersDiffer(
            f"compute party {odd} gave another answer than the rest in round {round_number}; "
            "stop trusting this job and have the transcripts audited",
            party=odd,
            round=round_number,
        )
    return answers[0]


def _step_seconds(reports: list[FinishAnswer]) -> dict[str, float]:
    """Return the slowest party's seconds per step."""
    steps = {step for report in reports for step in report.steps}
    nothing = 0.0
    return {
        step: max(
            report.steps[step].seconds if step in report.steps else nothing for report in reports
        )
        for step in sorted(steps)
    }

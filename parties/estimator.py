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
from typing import Self, TypeVar

import numpy as np

from aim_core.aim import AimSettings, Measure, Select
from parties.client import PartyClient
from parties.config import EstimatorConfig
from parties.engine import manifest_noise
from parties.errors import AnswersDiffer, JobFailed, PartyUnreachable
from parties.manifest import (
    Manifest,
    PublicInputs,
    load_manifest,
    parse_fraction,
    public_inputs,
)
from parties.mechanism import Emit, run_mechanism
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

Result = TypeVar("Result")

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 30.0
"""How long the other parties may take to say what went wrong after one has failed."""


def run_job(config: EstimatorConfig, emit: Emit) -> None:
    """Run one job to its end and write `codes.npy` and `results.json` into the out folder.

    Raises what the parties answer with, AnswersDiffer if they contradict each other, and
    PartyUnreachable for one that cannot be reached.
    """
    manifest = load_manifest(config.manifest)
    inputs = public_inputs(manifest)
    config.out.mkdir(parents=True, exist_ok=True)
    with MpcOracle(manifest, inputs, config) as oracle:
        started = time.perf_counter()
        holders = oracle.collect(emit)
        collect_seconds = time.perf_counter() - started
        outcome = run_mechanism(
            aim_settings(manifest),
            inputs.workload,
            manifest_noise(manifest),
            estimator_name=config.estimator,
            oracle=oracle,
            n_rows=config.rows,
            sample_seed=config.sample_seed,
            emit=emit,
        )
        reports = oracle.finish()
    np.save(config.out / "codes.npy", outcome.codes, allow_pickle=False)
    seconds = {**outcome.facts["seconds"], **_step_seconds(reports), "collect": collect_seconds}
    facts = {
        **outcome.facts,
        "seconds": seconds,
        "holders": holders,
        "parties": [report.model_dump() for report in reports],
    }
    (config.out / "results.json").write_text(json.dumps(facts), "utf-8")


def aim_settings(manifest: Manifest) -> AimSettings:
    """Return the manifest's mechanism as AIM's settings."""
    mechanism = manifest.mechanism
    return AimSettings(
        rho=parse_fraction(mechanism.rho),
        n_max=manifest.n_max,
        y_max=manifest.y_max,
        rounds=mechanism.rounds,
        max_model_mb=float(parse_fraction(mechanism.max_model_mb)),
        seed=mechanism.seed,
        alpha=parse_fraction(mechanism.alpha),
    )


class MpcOracle:
    """Answers AIM's requests by asking all compute parties at once; their answers must agree."""

    def __init__(self, manifest: Manifest, inputs: PublicInputs, config: EstimatorConfig) -> None:
        self._manifest, self._config, self._inputs = manifest, config, inputs
        self._place = {clique: place for place, clique in enumerate(inputs.candidates)}
        self._clients = [
            PartyClient(manifest, pid, config.identity, config.request_timeout)
            for pid in range(manifest.n_parties)
        ]
        self._pool = ThreadPoolExecutor(manifest.n_parties)

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

    def collect(self, emit: Emit) -> list[str]:
        """Wait for the uploads, freeze them, and return the holders that take part."""
        uploads = self._wait_for_uploads(emit)
        body = FreezeRequest(uploads=uploads).model_dump_json().encode()
        emit({"event": "freeze", "holders": len(uploads)})
        self._ask("/v1/freeze", body)
        return list(uploads)

    def select(self, request: Select) -> int:
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
        answers = self._ask(f"/v1/select/select-{request.round}", body)
        index = parse(SelectAnswer, _same(answers, request.round)).index
        if index >= len(request.candidates):
            raise AnswersDiffer("the parties chose a candidate that was not asked for")
        return index

    def measure(self, request: Measure) -> list[np.ndarray]:
        """Return the noisy marginals; AnswersDiffer if the parties do not say the same."""
        message = MeasureRequest(
            round=request.round,
            candidates=[self._place[clique] for clique in request.cliques],
            sigma2=str(Fraction(request.sigma2)),
        )
        body = message.model_dump_json().encode()
        answers = self._ask(f"/v1/measure/measure-{request.round}", body)
        sizes = [self._inputs.domain.n_cells(clique) for clique in request.cliques]
        return decode_marginals(_same(answers, request.round), sizes)

    def finish(self) -> list[FinishAnswer]:
        """End the job and return what it cost each party."""
        reports = [parse(FinishAnswer, answer) for answer in self._ask("/v1/finish", b"{}")]
        if len({report.ledger_head for report in reports}) != 1:
            raise AnswersDiffer("the parties' ledgers differ; have their transcripts audited")
        return reports

    def _wait_for_uploads(self, emit: Emit) -> dict[str, str]:
        deadline = time.monotonic() + self._config.collect_timeout
        n_seen = -1
        while True:
            statuses = self._at_all(lambda c: c.wait_ready(self._config.connect_timeout))
            for status in statuses:
                if status.state == "failed":
                    raise JobFailed(f"compute party {status.party} has failed", party=status.party)
            common = set.intersection(*(set(status.uploads.items()) for status in statuses))
            if len(common) != n_seen:
                n_seen = len(common)
                holders = len(self._manifest.holders)
                emit({"event": "uploads", "uploads": n_seen, "holders": holders})
            late = time.monotonic() > deadline
            if n_seen == len(self._manifest.holders) or (late and self._enough(n_seen)):
                return dict(sorted(common))
            if late:
                raise JobFailed(
                    f"{n_seen} holders uploaded in {self._config.collect_timeout:.0f} s, the "
                    f"manifest asks for {self._manifest.min_holders}; extend the time or remind "
                    "the holders"
                )
            time.sleep(_POLL_SECONDS)

    def _enough(self, n_holders: int) -> bool:
        return n_holders >= self._manifest.min_holders

    def _ask(self, path: str, body: bytes) -> list[bytes]:
        return self._at_all(lambda client: client.post(path, body))

    def _at_all(self, action: Callable[[PartyClient], Result]) -> list[Result]:
        futures = [self._pool.submit(action, client) for client in self._clients]
        _, waiting = wait(futures, return_when="FIRST_EXCEPTION")
        if waiting:
            wait(waiting, timeout=_PATIENCE_SECONDS)
        errors = [future.exception() for future in futures if future.done()]
        found = [error for error in errors if error is not None]
        if found:
            raise min(found, key=_vagueness)
        return [future.result() for future in futures]


def _vagueness(error: BaseException) -> int:
    """Order errors so that the one that tells most comes first."""
    return 1 if isinstance(error, PartyUnreachable | JobFailed) else 0


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

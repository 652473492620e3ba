"""The oracle behind the compute parties' API: a request goes to all of them, one answer is due."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from fractions import Fraction
from typing import Self, TypeVar

from aim_core.arrays import Counts
from aim_core.mechanisms.requests import Lost, Measure, Select
from mpc.errors import MpcError, PeerLost, PeerTimeout
from mpc.session.retrying import Backoff, Deadline, attempts, retry
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.errors import AnswersDiffer, ChargeLost, JobFailed, NotReady, PartyUnreachable
from parties.setup.config import EstimatorConfig
from parties.wire.client import PartyClient
from parties.wire.events import Emit, InputsFrozen, Notice, UploadsCounted
from parties.wire.messages import (
    FinishAnswer,
    FreezeRequest,
    JobState,
    MeasureRequest,
    RequestKind,
    SelectAnswer,
    SelectRequest,
    decode_marginals,
    encode_counts,
    pack,
    parse,
)

Reply = TypeVar("Reply")

_POLL = Backoff(0.2, 1.0)
_OUTAGE = Backoff(1.0, 10.0)
_AWAY = (NotReady, PartyUnreachable, PeerLost, PeerTimeout)
"""What a party says, or somebody says of it, that may be back soon."""

_PATIENCE_SECONDS = 30.0
"""How long the other parties may take to say what went wrong after one has failed."""


class MpcOracle:
    """Answers AIM's requests by asking all compute parties at once; their answers must agree."""

    def __init__(
        self, manifest: Manifest, inputs: PublicInputs, config: EstimatorConfig, emit: Emit
    ) -> None:
        self._manifest, self._config, self._inputs = manifest, config, inputs
        self._emit = emit
        self._index = {clique: index for index, clique in enumerate(inputs.candidates)}
        self._clients = [
            PartyClient(manifest, pid, config.identity, config.request_timeout)
            for pid in range(manifest.n_parties)
        ]
        # requests to a party that hangs keep their threads until they time out
        self._pool = ThreadPoolExecutor(4 * manifest.n_parties)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for client in self._clients:
            client.close()

    def collect(self) -> list[str]:
        """Wait for the uploads, freeze them, and return the holders that take part."""
        uploads = self._wait_for_uploads()
        body = FreezeRequest(uploads=uploads).to_json()
        self._emit(InputsFrozen(holders=len(uploads)))
        self._ask("/v1/freeze", body)
        return list(uploads)

    def select(self, request: Select) -> int | Lost:
        """Return the parties' choice; AnswersDiffer if they do not say the same."""
        widths, payload = encode_counts(request.model_counts)
        header = SelectRequest(
            round=request.round,
            candidates=[self._index[clique] for clique in request.candidates],
            selection_epsilon=str(request.selection_epsilon),
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

    def measure(self, request: Measure) -> list[Counts] | Lost:
        """Return the noisy marginals; AnswersDiffer if the parties do not say the same."""
        message = MeasureRequest(
            round=request.round,
            candidates=[self._index[clique] for clique in request.cliques],
            sigma2=str(Fraction(request.sigma2)),
        )
        body = message.to_json()
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
                if status.state is JobState.FAILED:
                    raise JobFailed(f"compute party {status.party} has failed", party=status.party)
                if status.inputs is not None:
                    return dict(sorted(status.inputs.items()))  # this job was begun before
            common = set.intersection(*(set(status.uploads.items()) for status in statuses))
            if len(common) != n_seen:
                n_seen = len(common)
                holders = len(self._manifest.holders)
                self._emit(UploadsCounted(uploads=n_seen, holders=holders))
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
            self._emit(Notice(event="waiting", text=f"waiting for the parties: {error}"))
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
    kind = RequestKind.SELECT if isinstance(request, Select) else RequestKind.MEASURE
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

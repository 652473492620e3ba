"""What the estimator may have released: selections and measurements, read, checked and priced.

A release is read from a request's body and from what the manifest makes public, nothing else, so
that all parties refuse the same ones and charge the same for the others.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from aim_core.arrays import Counts
from aim_core.counts.scores import multipliers
from aim_core.counts.workload import weights
from aim_core.domain import Clique
from parties.agreement.budget import Budget
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.agreement.values import describe, parse_fraction
from parties.errors import RequestRefused
from parties.party.engine_protocol import Engine
from parties.wire.entries import Costs, MeasuredLine, MeasureLine, SelectedLine, SelectLine
from parties.wire.messages import (
    SELECTION_EPSILON_CAP,
    LedgerEntry,
    MeasureRequest,
    Request,
    RequestKind,
    SelectAnswer,
    SelectRequest,
    decode_counts,
    encode_marginals,
    parse,
    unpack,
)
from parties.wire.transcript import Transcript, counts_digest


@dataclass(frozen=True)
class Release(ABC):
    """A selection or a measurement that is allowed, and is made once its charge is on disk."""

    charge: LedgerEntry
    round: int
    candidates: list[int]
    cliques: Sequence[Clique]

    @abstractmethod
    def line(self, ledger: str) -> SelectLine | MeasureLine:
        """Return the transcript's line for the charge; `ledger` is the head after it."""

    @abstractmethod
    async def make(
        self, engine: Engine, transcript: Transcript, cost: Callable[[], Costs]
    ) -> tuple[bytes, SelectedLine | MeasuredLine]:
        """Compute it with the peers; return the answer, and the transcript's line for it.

        `cost` tells afterwards what it has cost.
        """

    def _charged(self, ledger: str) -> dict[str, Any]:
        """Return the fields that the lines of all charges have."""
        fields = {"round": self.round, "candidates": self.candidates, "ledger": ledger}
        return {**self.charge.model_dump(), **fields}


@dataclass(frozen=True)
class _Selection(Release):
    message: SelectRequest
    model_counts: Sequence[Counts]
    model_digest: str
    multipliers: Sequence[int]

    def line(self, ledger: str) -> SelectLine:
        return SelectLine(
            **self._charged(ledger),
            selection_epsilon=self.message.selection_epsilon,
            biases=self.message.biases,
            model_counts=self.model_digest,
        )

    async def make(
        self,
        engine: Engine,
        transcript: Transcript,  # noqa: ARG002 - an index needs no file beside the transcript
        cost: Callable[[], Costs],
    ) -> tuple[bytes, SelectedLine]:
        request = self.charge.request
        index = await engine.select(
            request, self.candidates, self.model_counts, self.multipliers, self.message.biases
        )
        clique = list(self.cliques[index])
        line = SelectedLine(
            request=request, round=self.round, index=index, clique=clique, cost=cost()
        )
        return SelectAnswer(index=index).to_json(), line


@dataclass(frozen=True)
class _Measurement(Release):
    sigma2: str

    def line(self, ledger: str) -> MeasureLine:
        return MeasureLine(**self._charged(ledger), sigma2=self.sigma2)

    async def make(
        self, engine: Engine, transcript: Transcript, cost: Callable[[], Costs]
    ) -> tuple[bytes, MeasuredLine]:
        request = self.charge.request
        marginals = await engine.measure(request, self.candidates, parse_fraction(self.sigma2))
        line = MeasuredLine(
            request=request,
            round=self.round,
            cliques=[list(clique) for clique in self.cliques],
            marginals=transcript.marginals(marginals),
            cost=cost(),
        )
        return encode_marginals(marginals), line


def read_release(
    request: Request, manifest: Manifest, inputs: PublicInputs, budget: Budget, engine: Engine
) -> Release:
    """Return what a request asks to release; RequestRefused if the manifest does not allow it.

    Raises MechanismError for a noise level at which nothing is proven.
    """
    if request.kind is RequestKind.SELECT:
        return _read_selection(request, manifest, inputs, budget, engine)
    return _read_measurement(request, manifest, inputs, budget, engine)


def _read_selection(
    request: Request, manifest: Manifest, inputs: PublicInputs, budget: Budget, engine: Engine
) -> _Selection:
    header, payload = unpack(request.body)
    message = parse(SelectRequest, header)
    cliques = _cliques(message.candidates, inputs)
    epsilon = parse_fraction(message.selection_epsilon)
    if not 0 < epsilon <= SELECTION_EPSILON_CAP:
        cap = SELECTION_EPSILON_CAP
        raise RequestRefused(f"epsilon of a selection must be above 0, at most {cap}")
    if len(message.biases) != len(cliques):
        raise RequestRefused("there must be one bias per candidate")
    sizes = [inputs.domain.n_cells(clique) for clique in cliques]
    counts = decode_counts(payload, message.widths, sizes, manifest.y_max)
    rho, delta = engine.noise.select_rho(epsilon), len(cliques) * budget.per_candidate
    return _Selection(
        _charge(request, rho, delta),
        message.round,
        message.candidates,
        cliques,
        message,
        counts,
        counts_digest(counts),
        multipliers(weights(inputs.workload, cliques), epsilon, engine.fraction_bits),
    )


def _read_measurement(
    request: Request, manifest: Manifest, inputs: PublicInputs, budget: Budget, engine: Engine
) -> _Measurement:
    message = parse(MeasureRequest, request.body)
    cliques = _cliques(message.candidates, inputs)
    sigma2 = parse_fraction(message.sigma2)
    if not 0 < sigma2 <= parse_fraction(manifest.sigma2_max):
        raise RequestRefused("sigma squared is 0 or above the manifest's sigma2_max")
    rho = len(cliques) * engine.noise.measure_rho(sigma2)
    charge = _charge(request, rho, len(cliques) * budget.per_marginal)
    return _Measurement(charge, message.round, message.candidates, cliques, message.sigma2)


def _cliques(candidates: Sequence[int], inputs: PublicInputs) -> list[Clique]:
    n_candidates = len(inputs.candidates)
    if max(candidates) >= n_candidates:
        raise RequestRefused(f"a candidate is not among the closure's {n_candidates}")
    return [inputs.candidates[index] for index in candidates]


def _charge(request: Request, rho: Fraction, delta: Fraction) -> LedgerEntry:
    try:
        return LedgerEntry(
            request=request.id, sha256=request.sha256, rho=str(rho), delta=str(delta)
        )
    except ValidationError as error:
        raise RequestRefused(describe("what the request costs", error)) from error

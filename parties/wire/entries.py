"""What stands in a transcript: one strict type per event. All of it is public.

A compute party writes `begin`, `freeze`, `loaded`, then for every request a line when it is
charged (`select`, `measure`) and one when it is answered (`selected`, `measured`), then `finish`;
`resumed` where it met its peers again, `failed` where a job ends early. The estimator writes
`drive` and `result`, or `failed`. The events and the fields' names are part of the format.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from aim_core.models.fitters import FitterKind
from parties.agreement.values import AsText, FractionText, Frozen, Hash, Name
from parties.wire.messages import Index, Indices, LedgerEntry, RequestId, StepCost

Costs = dict[str, StepCost]

Text = Annotated[str, Field(max_length=2000)]


class Marginal(Frozen):
    """A noisy marginal: the SHA-256 of its int64 little-endian cells, and where they are.

    Either `values` has them, or `file`, a path below the transcript's folder, names a .npy file.
    """

    sha256: Hash
    values: list[int] | None = None
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+/[0-9a-f]{16}\.npy$")] | None = None


class Entry(Frozen):
    """One line of a transcript, without its place in the chain and its signature."""

    def public(self) -> dict[str, Any]:
        """Return what the lines of all compute parties must have in common."""
        return self.model_dump(mode="json")


class BeginLine(Entry):
    """A compute party opens its transcript."""

    event: Literal["begin"] = "begin"
    manifest: Hash
    party: Index
    name: Name
    version: Text

    def public(self) -> dict[str, Any]:
        """Return what the lines of all compute parties must have in common."""
        return self.model_dump(mode="json", exclude={"party", "name"})


class DriveLine(Entry):
    """The estimator opens its transcript; what its fits depend on besides the answers."""

    event: Literal["drive"] = "drive"
    manifest: Hash
    name: Name
    estimator: Annotated[FitterKind, AsText]
    environment: dict[str, Text]


class FreezeLine(Entry):
    """The holders that take part, each with its upload's id."""

    event: Literal["freeze"] = "freeze"
    request: RequestId
    sha256: Hash
    uploads: dict[Name, Hash]


class Costed(Entry):
    """A line that says what a step cost this party."""

    cost: Costs

    def public(self) -> dict[str, Any]:
        """Return what the lines of all compute parties must have in common."""
        return self.model_dump(mode="json", exclude={"cost"})


class LoadedLine(Costed):
    """The inputs have been added up, checked and prepared."""

    event: Literal["loaded"] = "loaded"


class ResumedLine(Costed):
    """The party has met its peers again, after one of them or itself was lost.

    `charges` are those in its ledger that have no line of their own here, because a peer had
    booked them or because the party was killed just then. `lost` are the requests that were
    charged and will not be answered, none twice.
    """

    event: Literal["resumed"] = "resumed"
    charges: list[LedgerEntry]
    lost: list[RequestId]
    ledger: Hash


class Charged(Entry):
    """A request that the ledger has paid for: its cost, and the ledger's head after it."""

    request: RequestId
    sha256: Hash
    round: Index
    candidates: Indices
    rho: FractionText
    delta: FractionText
    ledger: Hash


class SelectLine(Charged):
    """A selection; `model_counts` is `transcript.counts_digest` of the model marginals."""

    event: Literal["select"] = "select"
    selection_epsilon: FractionText
    biases: list[Index]
    model_counts: Hash


class MeasureLine(Charged):
    """A measurement."""

    event: Literal["measure"] = "measure"
    sigma2: FractionText


class SelectedLine(Costed):
    """The answer to a selection: the index among the request's candidates, and its clique."""

    event: Literal["selected"] = "selected"
    request: RequestId
    round: Index
    index: Index
    clique: list[str]


class MeasuredLine(Costed):
    """The answer to a measurement: the noisy marginals in the request's order."""

    event: Literal["measured"] = "measured"
    request: RequestId
    round: Index
    cliques: list[list[str]]
    marginals: list[Marginal]

    def public(self) -> dict[str, Any]:
        """Return what the lines of all compute parties must have in common."""
        hashes = [marginal.sha256 for marginal in self.marginals]
        return {**self.model_dump(mode="json", exclude={"cost"}), "marginals": hashes}


class FinishLine(Entry):
    """The job is done."""

    event: Literal["finish"] = "finish"
    rho_spent: FractionText
    ledger: Hash


class FailedLine(Entry):
    """The job ended early; the error's class and text."""

    event: Literal["failed"] = "failed"
    error: Text
    text: Text


class ResultLine(Entry):
    """What the estimator ended with.

    `transcripts` are the heads of the parties' transcripts before their last line; `codes` is the
    SHA-256 of the synthetic table's codes, (rows, attributes) int64 little-endian.
    """

    event: Literal["result"] = "result"
    rows: Index
    sample_seed: int
    codes: Hash
    rho_spent: FractionText
    ledger: Hash
    transcripts: list[Hash]


AnyEntry = (
    BeginLine
    | DriveLine
    | FreezeLine
    | LoadedLine
    | ResumedLine
    | SelectLine
    | MeasureLine
    | SelectedLine
    | MeasuredLine
    | FinishLine
    | FailedLine
    | ResultLine
)

ENTRIES: TypeAdapter[AnyEntry] = TypeAdapter(Annotated[AnyEntry, Field(discriminator="event")])
"""Reads an entry from its JSON object; ValidationError names the wrong fields."""

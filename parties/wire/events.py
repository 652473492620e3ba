"""What processes tell each other while they work: one strict type per event, all of it public.

The estimator tells where a job is, the holders what they have sent; as JSON lines on standard
output between the processes of `distaim run`, and for whoever asks for --json.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from aim_core.domain import Clique
from parties.wire.messages import Wire


class UploadsCounted(Wire):
    """How many of the holders have uploaded to all compute parties."""

    event: Literal["uploads"] = "uploads"
    uploads: int
    holders: int


class InputsFrozen(Wire):
    """The uploads are fixed, and the parties prepare their shares."""

    event: Literal["freeze"] = "freeze"
    holders: int


class BudgetSpent(Wire):
    """Something that was paid for: how much of the budget is spent after it."""

    round: int
    rho_used: float
    rho_budget: float

    @property
    def part(self) -> float:
        """Return the spent part of the budget."""
        return self.rho_used / self.rho_budget


class CliqueSelected(BudgetSpent):
    """A selection was answered."""

    event: Literal["select"] = "select"
    clique: Clique
    n_candidates: int


class MarginalsMeasured(BudgetSpent):
    """A measurement was answered; in round 0 it is that of all one-way marginals."""

    event: Literal["measure"] = "measure"
    cliques: tuple[Clique, ...]
    sigma: float


class RequestLost(BudgetSpent):
    """A request was paid for and will not be answered."""

    event: Literal["lost"] = "lost"
    kind: Literal["select", "measure"]


class SamplingBegun(Wire):
    """The model is final; the synthetic table is drawn from it."""

    event: Literal["sample"] = "sample"


class Notice(Wire):
    """A text for whoever watches: a warning, a wait for lost parties, the end of the work."""

    event: Literal["warning", "waiting", "report", "done"]
    text: str


class UploadsSent(Wire):
    """The holders are done: bytes that each has sent to all parties together."""

    event: Literal["submitted"] = "submitted"
    upload_bytes: dict[str, int]


Event = Annotated[
    UploadsCounted
    | InputsFrozen
    | CliqueSelected
    | MarginalsMeasured
    | RequestLost
    | SamplingBegun
    | Notice
    | UploadsSent,
    Field(discriminator="event"),
]

Emit = Callable[[Event], None]
"""Takes one event."""

EVENTS: TypeAdapter[Event] = TypeAdapter(Event)
"""Reads an event from its JSON object; ValidationError names the wrong fields."""

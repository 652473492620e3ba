"""Wire types of the federated mode: what FLAIM's server and its data holders say to each other.

Bodies are a JSON header and a payload of arrays, as in `parties.wire.messages`. The messages of
secure aggregation are those of `mpc.aggregation.messages`, carried as they are.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import numpy as np
from pydantic import Field

from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError
from aim_core.mechanisms.flaim_requests import Choose
from aim_core.mechanisms.flaim_terms import Proportions
from aim_core.models.measurement import Model
from aim_core.models.tree_model import TreeModel, calibrate
from mpc.aggregation.parameters import Parameters, VectorSlot
from parties.agreement.values import FractionText
from parties.errors import RequestRefused
from parties.wire.messages import Index, Indices, Wire, pack, parse, unpack

_POTENTIAL, _PROPORTION = np.dtype("<f4"), np.dtype("<i8")


class Stage(StrEnum):
    """What a holder is asked for: a choice of cliques, and the four messages of an aggregation."""

    CHOOSE = "choose"
    ADVERTISE = "advertise"
    SHARE_KEYS = "share_keys"
    CONTRIBUTE = "contribute"
    UNMASK = "unmask"


class ModelHeader(Wire):
    """A model's estimated number of records, and the cliques that its potentials are on."""

    total: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    cliques: list[list[str]]


class QuestionHeader(Wire):
    """Which cliques do you want measured? `indices` are the candidates' in the closure.

    The payload is the model, its potentials clique by clique, and then, if `has_oneways`, the
    one-way marginals of the private correction: all of W+, in order, 8 bytes a cell.
    """

    round: Index
    indices: Indices
    selection_epsilon: FractionText
    biases: list[Index]
    n_steps: Annotated[int, Field(ge=1)]
    model: ModelHeader
    has_oneways: bool


class Choice(Wire):
    """A holder's answer: indices within the question's candidates."""

    round: Index
    chosen: Indices


class OrderSlot(Wire):
    """One slot of an order: the marginal (an index in the closure), its holders, the least many."""

    index: Index
    holders: Indices
    minimum: Annotated[int, Field(ge=1)]


class Order(Wire):
    """What a round sums, with what noise; it comes with the session's id and its ring."""

    round: Index
    session: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    members: Indices
    ring_bits: Annotated[int, Field(ge=1, le=64)]
    sigma2: FractionText
    slots: Annotated[list[OrderSlot], Field(min_length=1)]

    def parameters(self) -> Parameters:
        """Return the aggregation's parameters: t is the least, so that most dropouts survive."""
        members = tuple(sorted(self.members))
        session, threshold = bytes.fromhex(self.session), len(members) // 2 + 1
        return Parameters(session, members, threshold, self.ring_bits)

    def slot_table(self, candidates: Sequence[Clique], domain: Domain) -> dict[int, VectorSlot]:
        """Return the slots as secure aggregation knows them, numbered in their order.

        RequestRefused for an index that the closure does not have.
        """
        if max(slot.index for slot in self.slots) >= len(candidates):
            raise RequestRefused(f"a slot is not among the closure's {len(candidates)} cliques")
        return {
            number: VectorSlot(
                domain.n_cells(candidates[slot.index]), tuple(sorted(slot.holders)), slot.minimum
            )
            for number, slot in enumerate(self.slots)
        }


def encode_question(request: Choose, candidates: Sequence[Clique]) -> bytes:
    """Pack a question; potentials travel in single precision (relative error 6e-8)."""
    index = {clique: number for number, clique in enumerate(candidates)}
    model, payload = _encode_model(request.model)
    header = QuestionHeader(
        round=request.round,
        indices=[index[clique] for clique in request.candidates],
        selection_epsilon=str(request.selection_epsilon),
        biases=list(request.biases),
        n_steps=request.n_steps,
        model=model,
        has_oneways=bool(request.oneways),
    )
    for clique in sorted(request.oneways):
        payload += request.oneways[clique].astype(_PROPORTION).tobytes()
    return pack(header.model_dump(), payload)


def decode_question(
    body: bytes, domain: Domain, candidates: Sequence[Clique]
) -> tuple[QuestionHeader, TreeModel, Mapping[Clique, Proportions]]:
    """Unpack a question, its model and its one-way marginals.

    RequestRefused for anything that does not fit the public domain and closure.
    """
    text, payload = unpack(body)
    header = parse(QuestionHeader, text)
    if max(header.indices) >= len(candidates) or len(header.biases) != len(header.indices):
        raise RequestRefused("the question's candidates are not the closure's, or lack a bias")
    cliques = [tuple(clique) for clique in header.model.cliques]
    oneways = sorted(clique for clique in candidates if len(clique) == 1)
    sizes = [domain.n_cells(clique) for clique in cliques]
    own = [domain.n_cells(clique) for clique in oneways] if header.has_oneways else []
    if len(payload) != _POTENTIAL.itemsize * sum(sizes) + _PROPORTION.itemsize * sum(own):
        raise RequestRefused("the question's payload does not have the model's size")
    potentials = np.frombuffer(payload, _POTENTIAL, sum(sizes)).astype(np.float64)
    parts = np.split(potentials, np.cumsum(sizes)[:-1]) if sizes else []
    model = calibrate(domain, dict(zip(cliques, parts, strict=True)), header.model.total)
    proportions = np.frombuffer(payload, _PROPORTION, sum(own), _POTENTIAL.itemsize * sum(sizes))
    pieces = np.split(proportions.astype(np.int64), np.cumsum(own)[:-1]) if own else []
    return header, model, dict(zip(oneways, pieces, strict=False))


def _encode_model(model: Model) -> tuple[ModelHeader, bytes]:
    if not isinstance(model, TreeModel):
        raise MechanismError(f"a {type(model).__name__} cannot be sent; fit with our own descent")
    header = ModelHeader(total=model.total, cliques=[list(clique) for clique in model.potentials])
    parts = [values.astype(_POTENTIAL).tobytes() for values in model.potentials.values()]
    return header, b"".join(parts)

"""Wire types of the HTTPS API. Arrays travel in binary: length, JSON header, payload.

A body is 4 bytes (big endian) with the header's length, the header as JSON, then the payload.
Everything is decoded strictly against what the manifest makes public: no dtype, length or size is
taken from the peer's word, and nothing is ever unpickled. The fields' names, and the values of the
enumerations, are part of the protocol; names of classes and functions are not.
"""

import base64
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from aim_core.arrays import Counts
from parties.agreement.values import FractionText, Hash, Name, describe
from parties.canonical import MAX_INTEGER, HashOf, canonical, tagged_sha256
from parties.errors import RequestRefused

MANIFEST_HEADER = "Distaim-Manifest"
"""Request header with the manifest's digest; every request carries it."""

UPLOAD_HEADER, DIGEST_HEADER, OFFSET_HEADER = "Distaim-Upload", "Repr-Digest", "Upload-Offset"
"""Headers of an upload: the sharing's id, the whole body's hash, where what is sent begins.

The last two are the IETF's: RFC 9530, and its draft on resumable uploads.
"""

SELECTION_EPSILON_CAP = Fraction(64)
"""Largest epsilon of one selection that a party computes with; scores stay small below it."""

SMALL_BODY = 1 << 20
"""Largest body, in bytes, of a request without arrays."""

RECEIPT_PURPOSE = "upload receipt"
"""What the signature of a receipt is bound to, see `parties.identity.signatures`."""

_HEADER_CAP = 1 << 22
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}
_BIAS_CAP = 1 << 40
_ROUND_CAP = 1 << 20
_DIGEST_FIELD = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


class Wire(BaseModel):
    """A strict message: unknown keys and conversions are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def to_json(self) -> bytes:
        """Return the message as canonical JSON."""
        return canonical(self.model_dump(mode="json"))


def _distinct(indices: list[int]) -> list[int]:
    if len(set(indices)) != len(indices):
        raise ValueError("an index occurs twice")
    return indices


def _is_width(width: int) -> int:
    if width not in _DTYPES:
        raise ValueError("a width is 1, 2 or 4 bytes")
    return width


Width = Annotated[int, AfterValidator(_is_width)]
Index = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Round = Annotated[int, Field(ge=0, lt=_ROUND_CAP)]
Indices = Annotated[list[Index], Field(min_length=1), AfterValidator(_distinct)]
Bias = Annotated[int, Field(ge=0, lt=_BIAS_CAP)]
RequestId = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]


class RequestKind(StrEnum):
    """What the estimator asks for: constants of the protocol, part of every request's hash."""

    FREEZE = "freeze"
    SELECT = "select"
    MEASURE = "measure"
    FINISH = "finish"


@dataclass(frozen=True)
class Request:
    """A request of the estimator: its kind, the id under which it is answered once, its body."""

    kind: RequestKind
    id: str
    body: bytes

    @cached_property
    def sha256(self) -> str:
        """Return the hash that parties agree on, charge and write down: of the kind and the body.

        The id is not part of it, so that a request that was lost keeps its hash under a new id.
        """
        return tagged_sha256(HashOf.REQUEST, self.kind.value.encode(), b"\0", self.body)


class JobState(StrEnum):
    """How a job stands at a compute party, as others see it."""

    CONNECTING = "connecting"
    COLLECTING = "collecting"
    FROZEN = "frozen"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class FreezeRequest(Wire):
    """The holders whose uploads make up the input, each with its upload's id."""

    uploads: dict[Name, Hash]


class SelectRequest(Wire):
    """One selection: candidates by their index in the closure; model counts are the payload."""

    round: Round
    candidates: Indices
    selection_epsilon: FractionText
    biases: list[Bias]
    widths: list[Width]


class MeasureRequest(Wire):
    """One measurement of one or more candidates with the same sigma squared."""

    round: Round
    candidates: Indices
    sigma2: FractionText


class FinishRequest(Wire):
    """The end of a job; it has no fields."""


class SelectAnswer(Wire):
    """The chosen candidate's index in the request's list."""

    index: Index


class UploadState(Wire):
    """How many bytes of an upload a compute party has on disk."""

    n_bytes: Index


class UploadReceipt(Wire):
    """A compute party's word, signed with its key, that it has an upload on disk."""

    manifest: Hash
    party: int
    holder: str
    upload: Hash
    sha256: Hash
    n_bytes: int
    signature: str

    def signed_bytes(self) -> bytes:
        """Return what is signed: all but the signature as canonical JSON."""
        return canonical(self.model_dump(exclude={"signature"}))


class StepCost(Wire):
    """What one step cost a party: bytes it sent, communication rounds, seconds."""

    bytes_sent: int
    rounds: int
    seconds: float


class LedgerEntry(Wire):
    """One charge of a ledger: the request, its body's hash, its cost as exact fractions."""

    request: RequestId
    sha256: Hash
    rho: FractionText
    delta: FractionText


class Status(Wire):
    """A compute party's public state; `inputs` are the frozen uploads, None before the freeze."""

    party: int
    version: str
    state: JobState
    manifest: Hash
    uploads: dict[str, Hash]
    inputs: dict[str, Hash] | None
    round: int
    rho_spent: str
    ledger_head: Hash


class FinishAnswer(Wire):
    """A compute party's last word: what the job cost it."""

    party: int
    steps: dict[str, StepCost]
    peak_rss_mb: float
    rho_spent: str
    ledger_head: Hash
    transcript_head: Hash


class ErrorBody(Wire):
    """An error as an answer: the class, the text, who and when, no data."""

    error: str
    message: str
    party: int | None = None
    round: int | None = None


WireType = TypeVar("WireType", bound=Wire)


def parse(kind: type[WireType], body: bytes) -> WireType:
    """Read a JSON message; RequestRefused names the fields that are wrong."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise RequestRefused(describe("the message", error)) from error


def digest_field(sha256: str) -> str:
    """Write a SHA-256 (hex) as the value of a `Repr-Digest` header."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def parse_digest_field(text: str) -> str:
    """Return the SHA-256 (hex) in a `Repr-Digest` header; RequestRefused if it is not just that."""
    if (found := _DIGEST_FIELD.fullmatch(text)) is None:
        raise RequestRefused(f"an upload needs one sha-256 in the {DIGEST_HEADER} header")
    return base64.b64decode(found[1]).hex()


def pack(header: dict[str, Any], payload: bytes) -> bytes:
    """Join a JSON header and a payload into one body."""
    text = canonical(header)
    return len(text).to_bytes(4, "big") + text + payload


def unpack(body: bytes) -> tuple[bytes, bytes]:
    """Split a body into its header's JSON text and its payload; RequestRefused if malformed."""
    length = int.from_bytes(body[:4], "big")
    if len(body) < 4 + length or length > _HEADER_CAP:
        raise RequestRefused("the message is shorter than its header says, or its header too long")
    return body[4 : 4 + length], body[4 + length :]


def encode_counts(counts: Sequence[Counts]) -> tuple[list[int], bytes]:
    """Pack integer model marginals: the narrowest of 1, 2, 4 bytes each, joined, zlib level 1."""
    widths = [_width(values) for values in counts]
    compressor = zlib.compressobj(1)
    parts = [
        compressor.compress(values.astype(_DTYPES[width]).tobytes())
        for values, width in zip(counts, widths, strict=True)
    ]
    return widths, b"".join([*parts, compressor.flush()])


def decode_counts(
    payload: bytes, widths: Sequence[int], sizes: Sequence[int], y_max: int
) -> list[Counts]:
    """Unpack integer model marginals, int64 flat, each of its `sizes` cells.

    Nothing beyond the expected size is ever inflated. RequestRefused for a payload of another
    size, or a marginal whose sum is above `y_max`.
    """
    if len(widths) != len(sizes):
        raise RequestRefused(f"{len(widths)} widths were sent for {len(sizes)} candidates")
    expected = sum(width * size for width, size in zip(widths, sizes, strict=True))
    raw = _inflate(payload, expected)
    counts, offset = [], 0
    for width, size in zip(widths, sizes, strict=True):
        cells = np.frombuffer(raw, _DTYPES[width], size, offset).astype(np.int64)
        offset += width * size
        if int(cells.sum()) > y_max:
            raise RequestRefused(f"a model marginal sums to more than y_max = {y_max}")
        counts.append(cells)
    return counts


def encode_marginals(marginals: Sequence[Counts]) -> bytes:
    """Pack noisy marginals, int64 flat, little endian, behind a header with their lengths."""
    payload = b"".join(values.astype("<i8").tobytes() for values in marginals)
    return pack({"cells": [int(values.size) for values in marginals]}, payload)


def decode_marginals(body: bytes, sizes: Sequence[int]) -> list[Counts]:
    """Unpack noisy marginals of the given sizes; RequestRefused if anything else was sent."""
    header, payload = unpack(body)
    if len(payload) != 8 * sum(sizes) or header != canonical({"cells": list(sizes)}):
        raise RequestRefused("the answer does not have the asked marginals' sizes")
    ends = np.cumsum(sizes)[:-1]
    return np.split(np.frombuffer(payload, "<i8").astype(np.int64), ends)


def _width(values: Counts) -> int:
    top = int(values.max(initial=0))
    return 1 if top < 1 << 8 else 2 if top < 1 << 16 else 4


def _inflate(payload: bytes, expected: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(payload, max(expected, 1))
        rest = inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error as error:
        raise RequestRefused(f"the model counts cannot be inflated ({error})") from error
    if len(raw) != expected or rest or not inflater.eof or inflater.unused_data:
        raise RequestRefused(f"the model counts do not inflate to the expected {expected} bytes")
    return raw

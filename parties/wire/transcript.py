"""A role's transcript: every request and answer of a job, hash-chained and signed, for audit."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aim_core.arrays import CodeTable, Counts
from parties.canonical import HashOf, tagged_sha256
from parties.files import sync_file, sync_folder
from parties.identity.signatures import Signer
from parties.wire.chain import HashChain
from parties.wire.entries import BeginLine, Costs, DriveLine, Entry, Marginal
from parties.wire.messages import StepCost

PURPOSE = "transcript"
"""What the signatures of a transcript's lines are bound to."""

_INLINE_CELLS = 1024


def first_head(begin: BeginLine | DriveLine) -> str:
    """Return the head of a transcript without lines, by the line that will open it."""
    writer = begin.party if isinstance(begin, BeginLine) else "estimator"
    start = f"{begin.manifest} {writer}".encode()
    return tagged_sha256(HashOf.TRANSCRIPT_START, start)


class Transcript:
    """JSON lines with public facts: what was asked, paid, answered, and what it cost.

    Every line holds the hash of the one before and the signature of the role's key. A noisy
    marginal of up to 1,024 cells stands in the line; a larger one stands in a .npy file in the
    folder beside, under its SHA-256. A file that exists is checked and continued.
    """

    def __init__(self, path: Path, begin: BeginLine | DriveLine, signer: Signer) -> None:
        self._chain = HashChain(path, first_head(begin), lambda line: signer.sign(PURPOSE, line))
        self._arrays = path.with_suffix("")
        if not self._chain.entries:
            self.write(begin)

    @property
    def head(self) -> str:
        """Return the hash over the last line (hex)."""
        return self._chain.head

    @property
    def entries(self) -> Sequence[Mapping[str, Any]]:
        """Return all lines, as JSON objects."""
        return self._chain.entries

    def write(self, entry: Entry) -> None:
        """Append one entry; it is on disk when this returns."""
        self._chain.append(entry.model_dump(mode="json", exclude_none=True))

    def marginals(self, marginals: Sequence[Counts]) -> list[Marginal]:
        """Return the entries that stand for noisy marginals, writing large ones beside."""
        return [self._marginal(values) for values in marginals]

    def close(self) -> None:
        """Close the file."""
        self._chain.close()

    def _marginal(self, values: Counts) -> Marginal:
        sha256 = values_digest(values)
        if values.size <= _INLINE_CELLS:
            return Marginal(sha256=sha256, values=values.tolist())
        self._arrays.mkdir(exist_ok=True)
        name = f"{sha256[:16]}.npy"
        np.save(self._arrays / name, values.astype("<i8"), allow_pickle=False)
        sync_file(self._arrays / name)
        sync_folder(self._arrays)  # before the line that names it
        return Marginal(sha256=sha256, file=f"{self._arrays.name}/{name}")


def values_digest(values: Counts | CodeTable) -> str:
    """Return the SHA-256 of integers as int64 little-endian in C order (hex)."""
    return hashlib.sha256(np.ascontiguousarray(values, "<i8").tobytes()).hexdigest()


def counts_digest(counts: Iterable[Counts]) -> str:
    """Return the hash of the model marginals of a selection: over each one's `values_digest`."""
    return tagged_sha256(HashOf.MODEL_COUNTS, "".join(map(values_digest, counts)).encode())


def cost_between(before: Mapping[str, StepCost], after: Mapping[str, StepCost]) -> Costs:
    """Return what each step cost between two readings of the counters, unused steps left out."""
    nothing = StepCost(bytes_sent=0, rounds=0, seconds=0.0)
    costs = {}
    for step, late in after.items():
        early = before.get(step, nothing)
        if late != early:
            costs[step] = StepCost(
                bytes_sent=late.bytes_sent - early.bytes_sent,
                rounds=late.rounds - early.rounds,
                seconds=round(late.seconds - early.seconds, 6),
            )
    return costs


def add_costs(one: Mapping[str, StepCost], other: Mapping[str, StepCost]) -> dict[str, StepCost]:
    """Return the sums of two readings of the counters."""
    nothing = StepCost(bytes_sent=0, rounds=0, seconds=0.0)
    return {
        step: StepCost(
            bytes_sent=a.bytes_sent + b.bytes_sent,
            rounds=a.rounds + b.rounds,
            seconds=round(a.seconds + b.seconds, 6),
        )
        for step in {**one, **other}
        for a, b in [(one.get(step, nothing), other.get(step, nothing))]
    }

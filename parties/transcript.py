"""A compute party's transcript: every request and answer of a job, hash-chained, for audit."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parties.chain import HashChain
from parties.messages import StepCost

_INLINE_CELLS = 1024


class Transcript:
    """JSON lines with public facts: what was asked, paid, answered, and what it cost.

    A noisy marginal of up to 1,024 cells stands in the line; a larger one stands in a .npy file
    in the folder beside, under its SHA-256.
    """

    def __init__(self, path: Path, manifest_digest: str, party: int) -> None:
        self._chain = HashChain(path, f"transcript {manifest_digest} {party}")
        self._arrays = path.with_suffix("")

    @property
    def head(self) -> str:
        """Return the hash over the last line (hex)."""
        return self._chain.head

    def write(self, event: str, **facts: Any) -> None:
        """Append one event."""
        self._chain.append({"event": event, **facts})

    def marginals(self, marginals: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """Return the entries that stand for noisy marginals, writing large ones beside."""
        return [self._marginal(values) for values in marginals]

    def close(self) -> None:
        """Close the file."""
        self._chain.close()

    def _marginal(self, values: np.ndarray) -> dict[str, Any]:
        data = values.astype("<i8")
        entry: dict[str, Any] = {"sha256": hashlib.sha256(data.tobytes()).hexdigest()}
        if values.size <= _INLINE_CELLS:
            return {**entry, "values": data.tolist()}
        self._arrays.mkdir(exist_ok=True)
        name = f"{entry['sha256'][:16]}.npy"
        np.save(self._arrays / name, data, allow_pickle=False)
        return {**entry, "file": f"{self._arrays.name}/{name}"}


def cost_between(
    before: Mapping[str, StepCost], after: Mapping[str, StepCost]
) -> dict[str, dict[str, Any]]:
    """Return what each step cost between two readings of the counters, unused steps left out."""
    nothing = StepCost(bytes_sent=0, rounds=0, seconds=0.0)
    costs = {}
    for step, late in after.items():
        early = before.get(step, nothing)
        if late != early:
            costs[step] = {
                "bytes_sent": late.bytes_sent - early.bytes_sent,
                "rounds": late.rounds - early.rounds,
                "seconds": round(late.seconds - early.seconds, 6),
            }
    return costs

"""The secure engine as a party's job uses it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from aim_core.privacy.noise_facts import Noise
from mpc.steps.job import MarginalAnswers
from parties.wire.messages import StepCost


class Engine(MarginalAnswers, Protocol):
    """Computes on the uploads with the peers; candidates are indices in the closure."""

    noise: Noise
    fraction_bits: int

    async def agree(self, label: str, values: Mapping[str, bytes]) -> None:
        """Compare named public values with all peers; ProtocolViolation if one differs."""

    async def publish(self, label: str, value: bytes) -> dict[int, bytes]:
        """Tell all peers a public value and return everybody's, this party's included."""
        ...

    def heard(self) -> dict[int, float]:
        """Return for how many seconds each peer has been silent."""
        ...

    async def load(self, uploads: Mapping[str, Path]) -> None:
        """Sum the holders' uploads, check them, and prepare the cells; InputsRefused by name."""

    def finish(self) -> None:
        """Wipe what was made ahead."""
        ...

    def costs(self) -> dict[str, StepCost]:
        """Return what each step has cost this party so far."""

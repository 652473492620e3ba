"""A small job for tests of the roles: identities, manifest, and a scripted engine."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from aim_core.privacy.noise_facts import Noise
from aim_core.tables.schema_file import schema_from_dict
from mpc.arrays import Array, Integers
from mpc.errors import MpcError
from parties.agreement.budget import Budget
from parties.agreement.manifest import PROTOCOL, Manifest
from parties.agreement.public_inputs import public_inputs
from parties.identity.certificates import Identity, make_identity
from parties.party.job import PartyJob
from parties.party.state.uploads import UploadPart
from parties.setup.config import PartyConfig
from parties.wire.messages import StepCost, UploadReceipt

Raw = dict[str, Any]
"""A manifest, or an error, as parsed JSON."""

PER_MARGINAL, PER_CANDIDATE = Fraction(1, 10**6), Fraction(1, 10**9)
SIZES = {"a": 2, "b": 3, "c": 2}
BODY_SIZE = 100
UPLOAD = "a" * 64


def member(identity: Identity) -> dict[str, str]:
    return {"name": identity.name, "certificate": identity.certificate}


@dataclass
class World:
    """Identities of three parties, two holders, an estimator and a stranger."""

    folder: Path
    rho: str = "1/1000"
    ports: tuple[int, ...] = (5001, 5002, 5003)
    identities: dict[str, Identity] = field(init=False)

    def __post_init__(self) -> None:
        names = ["party-0", "party-1", "party-2", "ann", "bob", "estimator", "stranger"]
        self.identities = {name: make_identity(name, self.folder / "keys") for name in names}

    def raw(self) -> Raw:
        parties = [
            {
                **member(self.identities[f"party-{pid}"]),
                "url": f"https://127.0.0.1:{port}",
                "host": "127.0.0.1",
                "port": port + 1000,
            }
            for pid, port in enumerate(self.ports)
        ]
        return {
            "protocol": PROTOCOL,
            "expires": "2100-01-01T00:00:00Z",
            "schema": schema_from_dict(SIZES).to_dict(),
            "workload": "2way",
            "cliques": [["a", "b"], ["a", "c"], ["b", "c"]],
            "max_cells": None,
            "mechanism": {
                "epsilon": "1",
                "delta": "1e-9",
                "rho": self.rho,
                "alpha": "9/10",
                "rounds": 2,
                "max_model_mb": "80",
                "seed": 7,
            },
            "n_max": 127,
            "y_max": 127,
            "sigma2_max": "1000",
            "noise": "dealers",
            "engine": "replicated",
            "threshold": 1,
            "min_holders": 1,
            "parties": parties,
            "holders": [member(self.identities["ann"]), member(self.identities["bob"])],
            "estimator": member(self.identities["estimator"]),
        }

    def manifest(self) -> Manifest:
        return Manifest.parse(self.raw())

    def job(
        self, pid: int = 0, reconnect_seconds: float = 0.0, site: Path | None = None
    ) -> PartyJob:
        """Return a party's job, with its state and transcript in `site`: here, if not said."""
        folder = site or self.folder
        identity = self.identities[f"party-{pid}"]
        config = PartyConfig(
            name=identity.name,
            manifest=folder / "manifest.json",
            certificate=identity.certificate_path,
            key=identity.key_path,
            pid=pid,
            https_port=self.ports[pid],
            mpc_port=self.ports[pid] + 1000,
            state=folder / identity.name,
            transcript=folder / f"{identity.name}.jsonl",
            reconnect_seconds=reconnect_seconds,
        )
        manifest = self.manifest()
        distance = 3 * PER_MARGINAL
        budget = Budget(Fraction(self.rho), 4 * distance, distance, PER_MARGINAL, PER_CANDIDATE)
        return PartyJob(config, manifest, public_inputs(manifest), BODY_SIZE, budget)


async def send_upload(
    job: PartyJob, holder: str, data: bytes, upload: str = UPLOAD, chunk: int = 7
) -> UploadReceipt:
    """Upload a body as one request."""

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), chunk):
            yield data[start : start + chunk]

    part = UploadPart(upload, hashlib.sha256(data).hexdigest())
    return await job.upload(holder, part, chunks())


def measure_body(
    round_number: int = 1, *, candidates: Sequence[int] = (1,), sigma2: str = "4"
) -> bytes:
    """Return what the estimator sends to have marginals measured."""
    request = {"round": round_number, "candidates": list(candidates), "sigma2": sigma2}
    return json.dumps(request).encode()


def freeze_body(**uploads: str) -> bytes:
    """Return what the estimator sends to close the door: holders and their uploads' ids."""
    return json.dumps({"uploads": uploads}).encode()


class ScriptedEngine:
    """Notes what it is asked, answers the first candidate and zero marginals."""

    def __init__(self, error: MpcError | None = None) -> None:
        self.noise = Noise()
        self.fraction_bits = 24
        self.calls: list[tuple[Any, ...]] = []
        self.agreed: list[tuple[str, dict[str, bytes]]] = []
        self.said: dict[int, bytes] = {}
        self.error = error
        self.sizes = [2, 3, 2, 6, 4, 6]

    async def agree(self, label: str, values: Mapping[str, bytes]) -> None:
        self.agreed.append((label, dict(values)))

    async def publish(self, label: str, value: bytes) -> dict[int, bytes]:
        return {0: value, **self.said}

    def heard(self) -> dict[int, float]:
        return {1: 0.5, 2: 1.5}

    async def load(self, uploads: Mapping[str, Path]) -> None:
        self.calls.append(("load", [path.name for path in uploads.values()]))

    async def select(
        self,
        label: str,
        candidates: Sequence[int],
        model_counts: Sequence[Array],
        multipliers: Sequence[int],
        biases: Sequence[int],
    ) -> int:
        if self.error:
            raise self.error
        self.calls.append(("select", label, list(candidates), list(multipliers), list(biases)))
        return 0

    async def measure(
        self, label: str, candidates: Sequence[int], sigma2: Fraction
    ) -> list[Integers]:
        self.calls.append(("measure", label, list(candidates), sigma2))
        return [np.zeros(self.sizes[place], np.int64) for place in candidates]

    def finish(self) -> None:
        self.calls.append(("finish",))

    def costs(self) -> dict[str, StepCost]:
        n_calls = len(self.calls)
        return {"step": StepCost(bytes_sent=10 * n_calls, rounds=n_calls, seconds=0.0)}

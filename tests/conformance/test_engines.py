"""Both engines, as processes over TLS, against the plaintext reference with scripted noise."""

from collections.abc import Sequence

import numpy as np
import pytest

from mpc import reference
from mpc.arrays import Integers
from parties.local.party_processes import run_local_parties
from tests.support.programs.scripted_noise import (
    SIGMA2,
    SIZES,
    Opened,
    ScriptedSampler,
    job_program,
    tables,
)
from tests.support.secure.sessions import STRUCTURES

CELLS, MODELS = np.concatenate(tables(1, 900)), tables(2, 950)


class Scripted:
    """What the parties have to open, from the noise that all of them deal."""

    def __init__(self, n_parties: int, threshold: int) -> None:
        self._samplers = [ScriptedSampler(pid) for pid in range(n_parties)]
        self._n_gumbels = threshold + 1

    def select(
        self, candidates: Sequence[int], multipliers: Sequence[int], biases: Sequence[int]
    ) -> int:
        models = [MODELS[c] for c in candidates]
        distances = reference.l1_distances(CELLS, SIZES, candidates, models)
        dealt = [s.gumbel(len(candidates), 24) for s in self._samplers[: self._n_gumbels]]
        return reference.select(distances, multipliers, biases, np.sum(dealt, axis=0).tolist())

    def gaussian(self, n: int) -> Integers:
        total: Integers = np.sum([s.gaussian(n, SIGMA2) for s in self._samplers], axis=0)
        return total


@pytest.mark.parametrize("engine", ["replicated", "shamir"])
@pytest.mark.parametrize("mt", STRUCTURES, ids=str)
def test_job_equals_the_reference(engine: str, mt: tuple[int, int]) -> None:
    answers: list[Opened] = run_local_parties(*mt, job_program, engine, seconds=100)
    assert all(answer == answers[0] for answer in answers)
    scripted = Scripted(*mt)
    assert answers[0].chosen == [
        scripted.select([0, 1, 2, 3], [2**20, 2**21, 3, 2**19], [5, 0, -7, 100]),
        0,
        scripted.select([0, 3], [0, 0], [0, 0]),
    ]
    if engine == "replicated":
        noise = np.split(scripted.gaussian(SIZES[1] + SIZES[3]), [SIZES[1]])
    else:
        noise = [scripted.gaussian(SIZES[c]) for c in (1, 3)]
    marginals = np.split(CELLS, np.cumsum(SIZES)[:-1])
    for candidate, values, extra in zip((1, 3), answers[0].measured, noise, strict=True):
        assert values == reference.measure(marginals[candidate], extra).tolist()

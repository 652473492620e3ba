"""Both engines, as processes over TLS, against the plaintext reference with scripted noise."""

import numpy as np
import pytest

from mpc import reference
from parties.local.bench_sessions import run_local_parties
from tests.support.programs.scripted_noise import SIZES, ScriptedSampler, job_program, tables


def expected(n_parties: int, threshold: int):
    cells = np.concatenate(tables(1, 900))
    models = tables(2, 950)
    samplers = [ScriptedSampler(pid) for pid in range(n_parties)]

    def gumbel(n: int):
        return sum(s.gumbel(n, 24) for s in samplers[: threshold + 1])

    def select(candidates, multipliers, biases):
        chosen = [models[c] for c in candidates]
        distances = reference.l1_distances(cells, SIZES, candidates, chosen)
        return reference.select(distances, multipliers, biases, gumbel(len(candidates)))

    return select, np.split(cells, np.cumsum(SIZES)[:-1]), samplers


@pytest.mark.parametrize("engine", ["replicated", "shamir"])
@pytest.mark.parametrize("mt", [(3, 1), (4, 1), (5, 2)], ids=str)
def test_job_equals_the_reference(engine, mt: tuple[int, int]) -> None:
    answers = run_local_parties(*mt, job_program, {"engine": engine}, seconds=100)
    assert all(answer == answers[0] for answer in answers)
    select, marginals, samplers = expected(*mt)
    assert answers[0]["chosen"] == [
        select([0, 1, 2, 3], [2**20, 2**21, 3, 2**19], [5, 0, -7, 100]),
        0,
        select([0, 3], [0, 0], [0, 0]),
    ]
    if engine == "replicated":
        n = SIZES[1] + SIZES[3]
        noise = np.split(sum(s.gaussian(n, None) for s in samplers), [SIZES[1]])
    else:
        noise = [sum(s.gaussian(SIZES[c], None) for s in samplers) for c in (1, 3)]
    for candidate, values, extra in zip((1, 3), answers[0]["measured"], noise, strict=True):
        assert values == reference.measure(marginals[candidate], extra).tolist()

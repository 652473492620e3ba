"""AIM over a domain with structural zeros."""

from fractions import Fraction

import numpy as np
import pytest

from aim_core.arrays import Counts
from aim_core.counts.marginals import count_marginals
from aim_core.counts.workload import maximal_cliques, parse_workload
from aim_core.domain import Domain, StructuralZeros
from aim_core.errors import DomainTooLarge, MechanismError
from aim_core.mechanisms.aim import aim, drive
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.mechanisms.plaintext import PlaintextOracle
from aim_core.mechanisms.requests import Answer, Request, Select
from aim_core.models.descent import MirrorDescent
from aim_core.models.mbi_bridge import MbiFitter
from aim_core.privacy.noise_facts import Noise
from tests.support.toys import SeededNoise

ORDER = np.tri(6, dtype=bool).T.copy()  # a <= b
ORDERED = StructuralZeros(("a", "b"), ORDER.tobytes())
ATTRIBUTES, SIZES = ("a", "b", "c", "d"), (6, 6, 3, 2)
DOMAIN = Domain(ATTRIBUTES, SIZES, (ORDERED,))
WORKLOAD = parse_workload("2way", DOMAIN)


def setup(max_model_mb: float = 80, rho: Fraction = Fraction(1)) -> AimSettings:
    return AimSettings(rho, n_max=10_000, y_max=10_000, rounds=6, max_model_mb=max_model_mb)


def test_no_request_and_no_row_has_mass_in_a_forbidden_cell() -> None:
    # A fifth of the real rows break the order: the model does not follow them.
    real = np.random.default_rng(0).integers(0, SIZES, (3000, 4))
    in_order = real[:, 0] <= real[:, 1]
    real = real[in_order | (np.random.default_rng(1).random(3000) < 0.3)]
    marginals = count_marginals([real], DOMAIN, maximal_cliques(WORKLOAD))
    oracle = PlaintextOracle(DOMAIN, marginals, SeededNoise(2), 8)
    seen: list[Counts] = []

    def observe(request: Request, _: Answer) -> None:
        if isinstance(request, Select):
            seen.extend(
                counts
                for clique, counts in zip(request.candidates, request.model_counts, strict=True)
                if clique == ("a", "b")
            )

    result = drive(aim(setup(), WORKLOAD, Noise(), MirrorDescent(200)), oracle, observe)
    assert len(seen) == 6
    for counts in [*seen, result.model.marginals([("a", "b")])[0]]:
        assert (counts[~ORDER.ravel()] == 0).all()
        assert counts.sum() > 1000
    for seed in range(20):
        rows = result.model.sample(1000, np.random.default_rng(seed))
        assert (rows[:, 0] <= rows[:, 1]).all()


def test_the_scope_counts_in_what_a_model_can_afford() -> None:
    # 41 cells of 8 bytes: the scope and the attributes c and d
    run = aim(setup(41 * 8 / 2**20), WORKLOAD, Noise(), MirrorDescent(10))
    next(run)
    request = run.send([np.full(size, 10) for size in SIZES])
    assert isinstance(request, Select)
    oneways = [(name,) for name in ATTRIBUTES]
    assert list(request.candidates) == [*oneways, ("a", "b")]
    plain = parse_workload("2way", Domain(ATTRIBUTES, SIZES))
    run = aim(setup(41 * 8 / 2**20), plain, Noise(), MirrorDescent(10))
    next(run)
    request = run.send([np.full(size, 10) for size in SIZES])
    assert isinstance(request, Select)
    assert list(request.candidates) == [*oneways, ("c", "d")]


def test_constraints_that_no_model_can_hold_are_refused_before_anything_is_asked() -> None:
    with pytest.raises(DomainTooLarge, match="constraints alone make a model"):
        next(aim(setup(40 * 8 / 2**20), WORKLOAD, Noise(), MirrorDescent()))
    other = StructuralZeros(("a", "b"), (~ORDER).tobytes())
    contradictory = parse_workload("2way", Domain(ATTRIBUTES, SIZES, (ORDERED, other)))
    with pytest.raises(MechanismError, match="contradict each other"):
        next(aim(setup(), contradictory, Noise(), MirrorDescent()))
    with pytest.raises(MechanismError, match="choose 'numpy'"):
        next(aim(setup(), WORKLOAD, Noise(), MbiFitter()))

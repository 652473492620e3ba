import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aim_core.counts.workload import parse_workload
from aim_core.errors import MechanismError
from aim_core.privacy.zcdp import rho_from_epsilon_delta
from aim_core.tables.schema_file import schema_from_dict
from mpc.noise.kinds import NoiseKind
from mpc.noise.sources import NoiseCosts
from mpc.session.access import AccessStructure
from mpc.steps.job import noise_costs
from parties.agreement.budget import Draws, budget, noise_terms, run_budget
from parties.agreement.terms import read_terms
from parties.errors import ConfigError
from parties.local.options import RunOptions
from parties.local.plaintext_noise import PlaintextNoise
from parties.local.prepare import check_options, prepare

DEALT = noise_costs(NoiseKind.DEALERS, AccessStructure(3, 1))
DELTA = Fraction(1, 10**9)
JOINT = noise_costs(NoiseKind.JOINT, AccessStructure(3, 1))


@pytest.mark.parametrize("costs", [DEALT, JOINT], ids=["dealers", "joint"])
def test_the_samplers_delta_is_set_aside(costs: NoiseCosts) -> None:
    exact = rho_from_epsilon_delta(Fraction(1), Fraction(1, 10**9))
    draws = Draws(marginals=300, candidates=10**5)
    found = budget(Fraction(1), DELTA, costs, draws)
    assert exact * Fraction(999, 1000) < found.rho < exact
    assert found.distance == 300 * costs.measure_delta + 10**5 * costs.select_delta
    assert found.delta_reserved > (1 + Fraction(math.exp(1))) * found.distance
    with pytest.raises(MechanismError, match="too small"):
        budget(Fraction(1), Fraction(1, 10**27), costs, draws)
    for epsilon, delta in (
        (Fraction(0), DELTA),
        (Fraction(1), Fraction(0)),
        (Fraction(1), Fraction(1)),
    ):
        with pytest.raises(MechanismError):
            budget(epsilon, delta, costs, draws)


def test_large_epsilons_need_a_larger_delta() -> None:
    draws = Draws(marginals=240, candidates=10**5)
    assert budget(Fraction(15), DELTA, JOINT, draws).delta_reserved < Fraction(1, 2 * 10**9)
    for epsilon in (17, 800):
        with pytest.raises(MechanismError, match="larger delta"):
            budget(Fraction(epsilon), DELTA, JOINT, draws)


@pytest.mark.parametrize("noise", list(NoiseKind))
@pytest.mark.parametrize(("delta", "rounds"), [("1e-9", None), ("1e-5", 3), ("0.5", None)])
def test_a_too_large_epsilon_is_told_the_largest_possible(
    noise: NoiseKind, delta: str, rounds: int | None
) -> None:
    workload = parse_workload("2way", schema_from_dict({"a": 2, "b": 30, "c": 2}).domain)

    def with_epsilon(epsilon: Fraction | str) -> Fraction:
        choices = RunOptions(
            out=Path(), epsilon=str(epsilon), delta=delta, rounds=rounds, noise=noise
        )
        return run_budget(read_terms(choices, 3, 0), workload).rho

    for epsilon in ("120", "1000000"):
        with pytest.raises(MechanismError, match="is too large for delta") as refused:
            with_epsilon(epsilon)
        (named,) = re.findall(r"largest epsilon possible here is ([0-9.]+):", str(refused.value))
        assert with_epsilon(named) > 0
        with pytest.raises(MechanismError, match=f"possible here is {re.escape(named)}:"):
            with_epsilon(Fraction(named) + Fraction(1, 1000))


def test_a_budget_too_small_for_any_epsilon_says_which_part_of_it() -> None:
    draws = Draws(marginals=240, candidates=10**5)
    with pytest.raises(MechanismError, match="whatever epsilon is"):
        budget(Fraction(5), Fraction(1, 10**40), JOINT, draws)
    with pytest.raises(MechanismError, match="take a larger epsilon"):
        budget(Fraction(1, 10**16), DELTA, JOINT, draws)


def test_noise_at_its_least_variance_is_allowed_more_draws() -> None:
    workload = parse_workload("2way", schema_from_dict({"a": 2, "b": 3, "c": 2}).domain)

    def distance(epsilon: str, rounds: int | None) -> Fraction:
        choices = RunOptions(out=Path(), epsilon=epsilon, rounds=rounds, noise=NoiseKind.DEALERS)
        return run_budget(read_terms(choices, 3, 0), workload).distance

    assert distance("1", None) == distance("1", 48) < distance("25", 48)
    assert distance("25", 1) == distance("25", 48)


def test_dealt_noise_costs_half_as_much_variance_again() -> None:
    noise = noise_terms(DEALT)
    assert noise.variance_factor == Fraction(3, 2)
    assert noise.measure_rho(Fraction(100)) >= Fraction(1, 200)
    with pytest.raises(MechanismError, match="at least"):
        noise.measure_rho(DEALT.sigma2_min / 2)


@pytest.mark.parametrize(("source", "factor"), [((1, 1, 1), 1.0), ((3, 2, 2), 1.5)])
def test_plaintext_noise_has_the_stated_variance(
    source: tuple[int, int, int], factor: float
) -> None:
    noise = PlaintextNoise(*source)
    cells = noise.gaussian(40_000, Fraction(64))
    # the variance of a sample variance is 2 / n: six standard errors
    assert abs(cells.var() / (64 * factor) - 1) < 6 * (2 / 40_000) ** 0.5
    draws = noise.gumbel(4_000, 24) / 2**24
    assert abs(draws.var() / (source[2] * np.pi**2 / 6) - 1) < 0.25


@pytest.mark.parametrize(
    "change",
    [
        {"parties": 2},
        {"parties": 4, "threshold": 2},
        {"threshold": 0},
        {"holders": 0},
        {"split": "sorted"},
        {"table": Path("x.csv")},
        {"schema": Path("x.toml")},
    ],
)
def test_options_that_cannot_work_are_refused_first(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        check_options(RunOptions(out=tmp_path / "out", **change))


def test_a_prepared_run_knows_its_public_bounds(tmp_path: Path) -> None:
    prepared = prepare(RunOptions(out=tmp_path, seed=1))
    assert prepared.settings.n_max == 4095
    assert prepared.n_rows <= 4095
    assert all(counts.sum() == prepared.n_rows for counts in prepared.real.values())
    assert prepared.settings.rho == prepared.budget.rho
    assert prepared.settings.rho < rho_from_epsilon_delta(Fraction(1), Fraction(1, 10**9))

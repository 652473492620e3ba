"""AIM's policy: the order of requests, the budget, annealing, limits, determinism."""

import itertools
import os
import subprocess
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aim_core.counts.marginals import project
from aim_core.counts.workload import Workload, parse_workload
from aim_core.domain import Domain
from aim_core.errors import MechanismError
from aim_core.mechanisms.aim import aim, drive
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.mechanisms.plaintext import PlaintextOracle
from aim_core.mechanisms.requests import Answer, Measure, Request, Select
from aim_core.privacy.noise_facts import Noise
from tests.support.programs.aim_digest import digest_of_a_run, skewed_table
from tests.support.toys import (
    TOY,
    NoNoise,
    ProportionalFitter,
    RandomOracle,
    UniformFitter,
    cost,
)

RHO = Fraction(1, 8)
PAIRS = parse_workload("2way", TOY)
EXACT = Noise()
ROOT = Path(__file__).resolve().parents[3]

setup = partial(AimSettings, rho=RHO, n_max=1000, y_max=1000)


def test_requests_come_in_the_papers_order_with_the_papers_noise() -> None:
    oracle = RandomOracle(TOY)
    result = drive(aim(setup(), PAIRS, EXACT, ProportionalFitter(1)), oracle)
    first, *others = oracle.requests
    assert isinstance(first, Measure)
    assert first.cliques == (("a",), ("b",), ("c",))
    n_rounds = 16 * len(TOY)
    assert float(first.sigma2) == pytest.approx(float(n_rounds / (2 * Fraction(9, 10) * RHO)))
    assert isinstance(others[0], Select)
    assert float(others[0].selection_epsilon) ** 2 == pytest.approx(float(8 * RHO / 10 / n_rounds))
    assert result.rho_initial == 3 * EXACT.measure_rho(first.sigma2) == first.rho_used
    for number, (select, measure) in enumerate(zip(others[::2], others[1::2], strict=True), 1):
        assert isinstance(select, Select)
        assert isinstance(measure, Measure)
        assert select.round == measure.round == number
        assert measure.cliques[0] in select.candidates
        assert result.rounds[number - 1].clique == measure.cliques[0]
        assert result.rounds[number - 1].rho_spent == measure.rho_used
        assert result.rounds[number - 1].n_candidates == len(select.candidates)
    assert len(result.measurements) == len(result.rounds) + 3


@settings(max_examples=40)
@given(
    rho=st.fractions(min_value=Fraction(1, 1000), max_value=20),
    rounds=st.none() | st.integers(1, 12),
    eta=st.sampled_from([Fraction(0), Fraction(1, 2**20)]),
    slack=st.sampled_from([Fraction(0), Fraction(1, 10**9)]),
    seed=st.integers(0, 99),
)
def test_never_overspends_and_spends_all(
    rho: Fraction, rounds: int | None, eta: Fraction, slack: Fraction, seed: int
) -> None:
    noise = Noise(gumbel_eta=eta, measure_slack=slack)
    oracle = RandomOracle(TOY, seed)
    run = aim(setup(rho=rho, rounds=rounds), PAIRS, noise, ProportionalFitter(1))
    result = drive(run, oracle)
    spent = Fraction(0)
    for request in oracle.requests:
        spent += cost(request, noise)
        assert request.rho_used == spent <= rho
    assert result.rho_spent == spent >= rho * (1 - Fraction(1, 2**30))
    assert rounds is None or len(result.rounds) == rounds
    assert spent.denominator.bit_length() < 4000


@pytest.mark.parametrize("rounds", [1, 2, 10])
def test_fixed_rounds_have_constant_noise_and_are_not_annealed(rounds: int) -> None:
    oracle = RandomOracle(TOY)
    result = drive(aim(setup(rounds=rounds), PAIRS, EXACT, UniformFitter()), oracle)
    sigma2 = (rounds + 3) / (2 * Fraction(9, 10) * RHO)
    assert len(result.rounds) == rounds
    assert float(oracle.measures[0].sigma2) == pytest.approx(float(sigma2))
    assert not any(record.annealed for record in result.rounds)
    for record in result.rounds[:-1]:
        assert record.sigma2 == oracle.measures[0].sigma2
        assert float(record.selection_epsilon) ** 2 == pytest.approx(float(8 * RHO / 10 / rounds))


def test_a_round_that_changes_nothing_halves_sigma_and_doubles_epsilon() -> None:
    result = drive(aim(setup(), PAIRS, EXACT, UniformFitter()), RandomOracle(TOY))
    rounds = result.rounds
    assert len(rounds) >= 3
    for now, following in itertools.pairwise(rounds[:-1]):
        assert now.annealed
        assert following.sigma2 == now.sigma2 / 4
        assert following.selection_epsilon == 2 * now.selection_epsilon
    assert not rounds[-1].annealed


def test_wider_noise_than_central_enters_bias_variance_and_anneal_test() -> None:
    wide = Noise(variance_factor=Fraction(4))
    plain, doubled = RandomOracle(TOY), RandomOracle(TOY)
    drive(aim(setup(rounds=1), PAIRS, EXACT, ProportionalFitter()), plain)
    result = drive(aim(setup(rounds=1), PAIRS, wide, ProportionalFitter()), doubled)
    one, two = plain.selects[0], doubled.selects[0]
    assert one.selection_epsilon == two.selection_epsilon
    for bias, bias_wide, clique in zip(one.biases, two.biases, one.candidates, strict=True):
        sigma = float(plain.measures[1].sigma2) ** 0.5
        assert bias == round((2 / np.pi) ** 0.5 * sigma * TOY.n_cells(clique))
        assert abs(bias_wide - 2 * bias) <= 1
    assert result.measurements[0].variance == pytest.approx(4 * float(plain.measures[0].sigma2))


def test_variance_stays_where_the_noise_is_proved() -> None:
    noise = Noise(measure_slack=Fraction(1, 10**12), sigma2_min=Fraction(16))
    oracle = RandomOracle(TOY)
    result = drive(aim(setup(rho=Fraction(5)), PAIRS, noise, UniformFitter()), oracle)
    assert min(record.sigma2 for record in result.rounds) == 16
    assert result.rho_spent <= 5
    with pytest.raises(MechanismError, match="no proof"):
        noise.measure_rho(Fraction(15))


def test_the_model_may_grow_with_the_budget_spent() -> None:
    domain = Domain(("a", "b", "c", "d"), (10, 10, 10, 10))
    workload = parse_workload("3way", domain)
    oracle = RandomOracle(domain)
    limit = 11_000 * 8 / 2**20
    run = aim(setup(max_model_mb=limit, rounds=50), workload, EXACT, UniformFitter())
    drive(run, oracle)
    for select in oracle.selects:
        assert set(select.candidates) >= {(name,) for name in domain.attributes}
    assert max(len(clique) for clique in oracle.selects[0].candidates) == 2
    assert len(oracle.selects[-1].candidates) == 14


def test_a_model_that_may_not_grow_keeps_what_is_measured() -> None:
    oracle = RandomOracle(TOY)
    drive(aim(setup(max_model_mb=1e-9, rounds=2), PAIRS, EXACT, UniformFitter()), oracle)
    assert oracle.selects[0].candidates == (("a",), ("b",), ("c",))


@pytest.mark.parametrize("total", [1.0, 999.7, 1000.0, 5e6])
def test_model_counts_are_valid_for_the_compute_parties(total: float) -> None:
    oracle = RandomOracle(TOY)
    drive(aim(setup(rounds=5), PAIRS, EXACT, UniformFitter(total)), oracle)
    for request in oracle.selects:
        for counts, clique in zip(request.model_counts, request.candidates, strict=True):
            assert counts.dtype == np.int64
            assert counts.shape == (TOY.n_cells(clique),)
            assert counts.min() >= 0
            assert abs(counts.sum() - min(total, 1000)) <= 1
            assert counts.sum() <= 1000


def test_attributes_outside_the_workload_are_measured_one_way_and_nothing_else() -> None:
    workload = Workload(TOY, (("a", "b"),))
    oracle = RandomOracle(TOY)
    result = drive(aim(setup(), workload, EXACT, UniformFitter()), oracle)
    assert ("c",) in oracle.measures[0].cliques
    assert ("c",) in {measurement.clique for measurement in result.measurements}
    asked = [r.cliques if isinstance(r, Measure) else r.candidates for r in oracle.requests]
    assert {clique for cliques in asked for clique in cliques if "c" in clique} == {("c",)}


def test_weights_of_cliques_are_those_that_a_selection_is_asked_with() -> None:
    oracle = RandomOracle(TOY)
    workload = Workload(TOY, PAIRS.cliques, (1, 1, 7))
    drive(aim(setup(rounds=1), workload, EXACT, UniformFitter()), oracle)
    (select,) = (request for request in oracle.requests if isinstance(request, Select))
    weight_of = dict(zip(select.candidates, select.weights, strict=True))
    assert PAIRS.cliques[2] == ("b", "c")
    assert weight_of[("b", "c")] == 7 * 2 + 1 + 1
    assert weight_of[("a", "b")] == 2 + 7 + 1
    assert weight_of[("a",)] == 2


@pytest.mark.parametrize("domain", [Domain(("x",), (4,)), Domain(("x", "y"), (4, 1))])
def test_tiny_domains_work(domain: Domain) -> None:
    oracle = RandomOracle(domain)
    result = drive(
        aim(setup(), parse_workload("3way", domain), EXACT, ProportionalFitter()), oracle
    )
    assert result.rho_spent >= RHO * (1 - Fraction(1, 2**30))


@pytest.mark.parametrize("answer", [-1, 6, None, "0", [0]])
def test_a_selection_needs_an_index(answer: object) -> None:
    run = aim(setup(), PAIRS, EXACT, ProportionalFitter())
    oracle = RandomOracle(TOY)
    measure = next(run)
    assert isinstance(measure, Measure)
    select = run.send(oracle.measure(measure))
    assert isinstance(select, Select)
    assert len(select.candidates) == 6
    with pytest.raises(MechanismError, match="no index"):
        run.send(cast("Answer", answer))


@pytest.mark.parametrize(
    "answer",
    [
        0,
        [],
        [np.zeros(2, np.int64)] * 3,
        [np.zeros(2), np.zeros(3), np.zeros(2)],
        [np.zeros(n, np.int64) for n in (2, 3)],
    ],
)
def test_a_measurement_needs_the_marginals_asked_for(answer: object) -> None:
    run = aim(setup(), PAIRS, EXACT, ProportionalFitter())
    next(run)
    with pytest.raises(MechanismError, match="not the int64"):
        run.send(cast("Answer", answer))


@pytest.mark.parametrize(
    "changes",
    [
        {"rho": Fraction(0)},
        {"alpha": Fraction(1)},
        {"rounds": 0},
        {"max_model_mb": 0},
        {"max_model_mb": float("nan")},
        {"max_model_mb": float("inf")},
        {"max_model_mb": 1.1e6},
        {"n_max": 0},
        {"y_max": 0},
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MechanismError):
        setup(**changes)


@pytest.mark.parametrize("noise", [Noise(gumbel_eta=Fraction(1)), Noise(measure_slack=Fraction(1))])
def test_a_budget_too_small_for_the_noise_is_refused_before_any_request(noise: Noise) -> None:
    with pytest.raises(MechanismError, match="too small"):
        next(aim(setup(), PAIRS, noise, ProportionalFitter()))


def test_without_noise_the_workload_is_recovered() -> None:
    counts = skewed_table()
    oracle = PlaintextOracle(TOY, {TOY.attributes: counts}, NoNoise(), 20)
    bound = int(counts.sum())
    chosen = setup(rounds=6, rho=Fraction(1000), n_max=bound, y_max=bound)
    seen: list[tuple[Request, Answer]] = []
    run = aim(chosen, parse_workload("3way", TOY), EXACT, ProportionalFitter())
    result = drive(run, oracle, lambda request, answer: seen.append((request, answer)))
    for clique in PAIRS.cliques:
        exact = project(counts, TOY, TOY.attributes, clique)
        np.testing.assert_allclose(result.model.marginals([clique])[0], exact, rtol=1e-3, atol=1)
    assert len(seen) == 1 + 2 * 6
    oneways = seen[0][1]
    assert isinstance(oneways, list)
    assert oneways[0].tolist() == project(counts, TOY, TOY.attributes, ("a",)).tolist()


def test_equal_answers_give_equal_runs_whatever_the_hash_seed() -> None:
    command = [sys.executable, "-m", "tests.support.programs.aim_digest"]
    outputs = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        outputs.append(done.stdout.strip())
    assert outputs == [digest_of_a_run()] * 2

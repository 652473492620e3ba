"""Terms are read once, as exact numbers, and refused at the door."""

import dataclasses
from fractions import Fraction
from typing import Any

import pytest

from aim_core.errors import AimError
from mpc.noise.kinds import NoiseKind
from parties.agreement.choices import Choices
from parties.agreement.terms import read_terms
from parties.agreement.values import EngineKind
from parties.errors import ConfigError

CHOICES = Choices(
    workload="2way",
    epsilon="0.1",
    delta="1e-9",
    threshold=1,
    rounds=None,
    max_cells=None,
    max_model_mb="80",
    noise=NoiseKind.JOINT,
    engine=EngineKind.REPLICATED,
)


def test_numbers_are_exact_and_keep_their_text() -> None:
    terms = read_terms(CHOICES, n_parties=3, seed=1, participation="1/3")
    assert (terms.epsilon.value, terms.epsilon.text) == (Fraction(1, 10), "0.1")
    assert (terms.delta.value, terms.delta.text) == (Fraction(1, 10**9), "1e-9")
    assert terms.participation == Fraction(1, 3)


def test_settings_know_who_joins_from_the_start() -> None:
    terms = read_terms(CHOICES, n_parties=3, seed=1, participation="1/3")
    settings = terms.settings(Fraction(1, 100), 1000, 1000, n_holders=6)
    assert settings.participation == terms.joining(6)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("epsilon", "0"),
        ("epsilon", "nan"),
        ("delta", "0"),
        ("delta", "1"),
        ("max_model_mb", "0"),
        ("max_model_mb", "-3"),
        ("max_model_mb", "1e999"),
        ("max_model_mb", "inf"),
    ],
)
def test_a_number_that_cannot_be_is_refused(field: str, text: str) -> None:
    changed: dict[str, Any] = {field: text}
    with pytest.raises((AimError, ConfigError), match=r"must|not a number|between|positive"):
        read_terms(dataclasses.replace(CHOICES, **changed), n_parties=3, seed=1)


@pytest.mark.parametrize(("n_parties", "threshold"), [(2, 1), (8, 1), (4, 2), (3, 0)])
def test_a_structure_that_cannot_be_is_refused(n_parties: int, threshold: int) -> None:
    with pytest.raises(ConfigError):
        read_terms(dataclasses.replace(CHOICES, threshold=threshold), n_parties, seed=1)

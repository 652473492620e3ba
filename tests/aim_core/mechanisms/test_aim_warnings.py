"""What is foreseen from the bound, and what the estimated number of records tells at the end."""

from fractions import Fraction

import pytest

from aim_core.counts.workload import Workload, parse_workload
from aim_core.domain import Domain
from aim_core.mechanisms.aim import aim, drive
from aim_core.mechanisms.aim_schedule import first_sigma2
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.mechanisms.aim_warnings import final_warnings, foreseen_warnings
from aim_core.mechanisms.requests import Measure
from aim_core.privacy.noise_facts import Noise
from tests.support.toys import TOY, ProportionalFitter, RandomOracle, UniformFitter

WIDE = Noise(variance_factor=Fraction(3, 2))


@pytest.mark.parametrize("rounds", [None, 4])
@pytest.mark.parametrize("workload", ["2way", "a,b"])
def test_the_first_variance_is_the_one_that_a_run_asks_for(
    rounds: int | None, workload: str
) -> None:
    settings = AimSettings(rho=Fraction(1, 50), n_max=100, y_max=100, rounds=rounds)
    request = next(aim(settings, parse_workload(workload, TOY), WIDE, UniformFitter()))
    assert isinstance(request, Measure)
    assert first_sigma2(settings, len(TOY), WIDE) == request.sigma2


def test_the_border_is_the_true_deviation_times_the_values() -> None:
    domain = Domain(("a", "b"), (2, 7))

    def foreseen(n_max: int) -> list[str]:
        return foreseen_warnings(
            AimSettings(rho=Fraction(1, 50), n_max=n_max, y_max=n_max), domain, WIDE
        )

    settings = AimSettings(rho=Fraction(1, 50), n_max=1, y_max=1)
    border = 7 * WIDE.true_sigma(first_sigma2(settings, 2, WIDE))
    assert foreseen(int(border) + 1) == []
    (text,) = foreseen(int(border))
    assert "in 1 of 2 columns (b)" in text
    assert f"at most {int(border):,} records" in text


def test_the_end_warns_by_the_estimate_where_the_bound_did_not() -> None:
    settings = AimSettings(rho=Fraction(1, 500), n_max=10**6, y_max=10**6, rounds=1)
    assert foreseen_warnings(settings, TOY, WIDE) == []
    workload = Workload(TOY, (("a",), ("b",), ("c",)))
    result = drive(aim(settings, workload, WIDE, ProportionalFitter(1)), RandomOracle(TOY))
    sigma = WIDE.true_sigma(first_sigma2(settings, 3, WIDE))
    assert result.model.total < 3 * sigma
    (text,) = final_warnings(result, settings, TOY)
    assert f"an estimated {result.model.total:,.0f} records" in text

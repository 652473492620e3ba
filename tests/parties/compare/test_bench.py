"""The bench that all methods run on: a whole row of each, what is held out, what is public."""

from fractions import Fraction

import numpy as np
import pytest

from aim_core.errors import AimError
from aim_core.privacy.zcdp import rho_from_epsilon_delta
from parties.compare.bench import Bench, Communication
from parties.compare.rows import METHODS
from parties.compare.settings import SYNTHFS, Task
from tests.support.comparisons import Clinic, settings_of


@pytest.fixture(scope="module")
def bench(clinic: Clinic) -> Bench:
    return Bench(settings_of(clinic))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_whole_row(bench: Bench, method: str) -> None:
    row = bench.run(Task(method, "1", 0), Communication("one real run", 10.0, 20, 0.0, 30))
    assert row.is_private == (method != "augflaim-oracle")
    assert 0 < row.error_l1 < 2
    assert row.error_other_l1 is not None
    assert 0 < row.error_other_l1 < 2
    assert row.auc is not None
    assert 0 < row.auc < 1
    assert 5 < row.nll < 100
    assert row.rounds == 2
    assert 0.99 * row.rho < row.rho_spent <= row.rho
    assert row.rho == pytest.approx(
        float(rho_from_epsilon_delta(Fraction(1), Fraction(1, 10**5))), rel=1e-6
    )
    assert not row.is_real_mpc
    if method in ("central", "distaim"):
        assert row.communication == "one real run"
        assert (row.bytes_up, row.max_bytes_up, row.bytes_servers) == (10.0, 20, 30)
    else:
        assert row.communication == "measured"
        assert 0 < row.bytes_up <= row.max_bytes_up
        assert row.bytes_down > 0
        assert row.bytes_servers == 0


def test_rows_are_held_out_from_all_methods(bench: Bench, clinic: Clinic) -> None:
    whole = np.concatenate([bench.train, bench.held_out])
    n_rows = len(clinic[0].read_text().splitlines()) - 1
    assert len(whole) == n_rows
    assert len(bench.held_out) == n_rows // 10
    marginal = next(iter(bench.real.values()))
    assert marginal.sum() == len(bench.train) == len(bench.owners(0))


def test_what_is_public_follows_from_the_seed(bench: Bench, clinic: Clinic) -> None:
    again = Bench(settings_of(clinic))
    assert np.array_equal(bench.owners(1), again.owners(1))
    assert not np.array_equal(bench.owners(1), bench.owners(2))
    task = Task("distaim", "1", 3)
    assert bench.terms(task).joining(4) == again.terms(task).joining(4)
    assert np.array_equal(bench.held_out, again.held_out)


def test_too_few_rows_are_refused(clinic: Clinic) -> None:
    with pytest.raises(AimError, match="too few"):
        Bench(settings_of(clinic, holders=10**6))


def test_synthfs_comes_with_its_holders(clinic: Clinic) -> None:
    asked = settings_of(
        clinic,
        table=SYNTHFS,
        table_sha256="",
        schema_file=None,
        methods=["oneway"],
        holders=5,
        participation="1",
        target=None,
        workload="2way",
    )
    bench = Bench(asked)
    assert np.bincount(bench.owners(0)).sum() == len(bench.train)
    row = bench.run(Task("oneway", "1", 0), None)
    assert row.auc is None
    assert row.heterogeneity_tv > 0.2

"""Comparisons: every method on one bench, resuming, settings that are refused."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from aim_core.errors import AimError
from aim_core.privacy.zcdp import rho_from_epsilon_delta
from aim_core.studies.clinic import write_clinic
from parties.compare import sweep as module
from parties.compare.bench import Bench, Communication
from parties.compare.rows import METHODS
from parties.compare.settings import (
    SYNTHFS,
    CompareSettings,
    Task,
    check_settings,
    tasks,
)
from parties.compare.sweep import compare, file_sha256
from parties.errors import ConfigError


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory):
    return write_clinic(tmp_path_factory.mktemp("demo"))


def settings(demo, **changes):
    table, schema = demo
    defaults = {
        "table": str(table),
        "table_sha256": file_sha256(table),
        "schema_file": str(schema),
        "methods": ["central", "flaim", "oneway"],
        "holders": 6,
        "participation": "1/2",
        "rounds": 2,
        "local_steps": 1,
        "split": "iid",
        "target": "smoker",
        "epsilons": ["1"],
        "delta": "1e-5",
        "seeds": 1,
        "workload": "random:4:1",
        "max_cells": None,
        "max_model_mb": "2",
        "plaintext_utility": True,
    }
    return CompareSettings(**{**defaults, **changes})


@pytest.fixture(scope="module")
def bench(demo):
    return Bench(settings(demo))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_whole_row(bench, method) -> None:
    row = bench.run(Task(method, "1", 0), Communication("one real run", 10.0, 20, 0.0, 30))
    assert row.is_private == (method != "augflaim-oracle")
    assert 0 < row.error_l1 < 2
    assert 0 < row.error_other_l1 < 2
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


def test_rows_are_held_out_from_all_methods(bench, demo) -> None:
    whole = np.concatenate([bench.train, bench.held_out])
    n_rows = len(demo[0].read_text().splitlines()) - 1
    assert len(whole) == n_rows
    assert len(bench.held_out) == n_rows // 10
    marginal = next(iter(bench.real.values()))
    assert marginal.sum() == len(bench.train) == len(bench.owners(0))


def test_what_is_public_follows_from_the_seed(bench, demo) -> None:
    again = Bench(settings(demo))
    assert np.array_equal(bench.owners(1), again.owners(1))
    assert not np.array_equal(bench.owners(1), bench.owners(2))
    assert bench.participation(3) == again.participation(3)
    assert np.array_equal(bench.held_out, again.held_out)


def test_tasks_cover_all_methods_seed_by_seed(demo) -> None:
    asked = tasks(settings(demo, epsilons=["1", "3"], seeds=2))
    assert len(asked) == len(set(asked)) == 12
    assert [task.seed for task in asked] == [0] * 6 + [1] * 6


def test_an_interrupted_comparison_goes_on(
    demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings(demo)
    rows = compare(asked, tmp_path / "out", 2)
    assert {row.method for row in rows} == {"central", "flaim", "oneway"}
    for name in ("compare.csv", "compare.json", "compare.html"):
        assert (tmp_path / "out" / name).stat().st_size > 500
    # as if it had been killed while the last row was written
    path = tmp_path / "out" / "rows.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    ran = []
    pooled = module._pooled

    def noting(settings, due, one_run, n_jobs):
        ran.extend(due)
        return pooled(settings, due, one_run, n_jobs)

    monkeypatch.setattr(module, "_pooled", noting)
    again = compare(
        settings(demo, methods=["central", "flaim", "oneway", "flaim-random"]), tmp_path / "out", 1
    )
    lost = json.loads(lines[-1])["method"]
    assert {task.method for task in ran} == {lost, "flaim-random"}
    assert len(again) == 4


def test_other_settings_do_not_mix_with_old_rows(demo, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "settings.json").write_text(settings(demo, rounds=3).model_dump_json())
    with pytest.raises(ConfigError, match="another rounds"):
        compare(settings(demo), out, 1)
    (out / "settings.json").write_text(settings(demo).model_dump_json())
    (out / "rows.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="no row"):
        compare(settings(demo), out, 1)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"methods": ["aim"]}, "cannot be compared"),
        ({"methods": []}, "cannot be compared"),
        ({"methods": ["flaim", "flaim"]}, "name each once"),
        ({"holders": 0}, "at least 1 holder"),
        ({"participation": "0"}, "above 0"),
        ({"participation": "2"}, "at most 1"),
        ({"participation": "half"}, "not a number"),
        ({"epsilons": []}, "epsilon"),
        ({"epsilons": ["0"]}, "epsilon"),
        ({"delta": "1"}, "delta"),
        ({"split": "alphabet"}, "split"),
        ({"split": "dirichlet:0"}, "dirichlet"),
        ({"max_model_mb": "0"}, "above 0 MB"),
        ({"schema_file": None}, "public schema"),
        ({"table": SYNTHFS}, "own schema"),
        (
            {
                "table": SYNTHFS,
                "schema_file": None,
                "methods": ["distaim"],
                "plaintext_utility": False,
            },
            "--plaintext-utility",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(demo, changes, text: str) -> None:
    with pytest.raises((ConfigError, AimError), match=text):
        check_settings(settings(demo, **changes))


def test_too_few_rows_are_refused(demo) -> None:
    with pytest.raises(AimError, match="too few"):
        Bench(settings(demo, holders=10**6))
    with pytest.raises(ConfigError, match="cannot be read"):
        file_sha256(demo[0] / "nowhere")


def test_synthfs_comes_with_its_holders() -> None:
    asked = CompareSettings(
        **{
            **settings_of_synthfs(),
            "methods": ["oneway"],
        }
    )
    bench = Bench(asked)
    assert np.bincount(bench.owners(0)).sum() == len(bench.train)
    row = bench.run(Task("oneway", "1", 0), None)
    assert row.auc is None
    assert row.heterogeneity_tv > 0.2


def settings_of_synthfs():
    return {
        "table": SYNTHFS,
        "table_sha256": "",
        "schema_file": None,
        "holders": 5,
        "participation": "1",
        "rounds": 2,
        "local_steps": 1,
        "split": "iid",
        "target": None,
        "epsilons": ["1"],
        "delta": "1e-5",
        "seeds": 1,
        "workload": "2way",
        "max_cells": None,
        "max_model_mb": "2",
        "plaintext_utility": True,
    }

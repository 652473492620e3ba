"""What a comparison writes: intervals, order, marks of what is not private, missing numbers."""

import csv
import io
import json
import math
import re

import pytest
from scipy import stats

from parties.compare_report import write_plots, write_reports
from parties.compare_rows import METHODS, NOT_PRIVATE, Facts, Row
from parties.compare_statistics import mean_of, summarise

ORACLE = "augflaim-oracle"


def row(method="flaim", epsilon="1", seed=0, **changes):
    place = METHODS.index(method)
    sends = method != "central"
    defaults = {
        "method": method,
        "epsilon": epsilon,
        "seed": seed,
        "is_private": method != ORACLE,
        "error_l1": 0.2 + 0.05 * place + 0.01 * seed,
        "error_other_l1": 0.25 + 0.05 * place,
        "nll": 20.0 + place + 0.1 * seed,
        "auc": 0.8 - 0.03 * place,
        "bytes_up": 1000.0 * place,
        "max_bytes_up": 3000 * place,
        "bytes_down": 500.0 * place,
        "bytes_servers": 10**8 if method == "distaim" else 0,
        "communication": "measured" if sends else "none",
        "is_real_mpc": method == "distaim",
        "rounds": 10,
        "sigma": 20.9,
        "rho": 0.0306,
        "rho_spent": 0.0305,
        "model_total": 1000.0,
        "heterogeneity_tv": 0.3,
        "seconds": 3.0,
    }
    return Row(**{**defaults, **changes})


def facts(**changes):
    defaults = {
        "settings": {"holders": 100, "participation": "0.1", "rounds": 10, "methods": [ORACLE]},
        "n_rows": 900,
        "n_held_out": 100,
        "n_attributes": 5,
        "n_cliques": 4,
        "n_candidates": 15,
        "n_cells": 12345,
        "target": "income",
        "reference_auc": 0.91,
        "records_per_holder": {"min": 5.0, "median": 9.0, "max": 20.0},
        "heterogeneity_tv": {"mean": 0.3, "min": 0.29, "max": 0.31},
        "versions": {"python": "3.11"},
        "remarks": ["A remark about augflaim-oracle."],
    }
    return Facts(**{**defaults, **changes})


def everything():
    return [row(m, e, s) for m in METHODS for e in ("1", "5", "10") for s in range(3)]


def written(tmp_path, rows, found=None):
    write_reports(tmp_path, found or facts(), rows)
    return (tmp_path / "compare.html").read_text("utf-8")


def test_intervals_are_students_t():
    values = [0.30, 0.34, 0.29, 0.31, 0.36]
    mean = mean_of(values)
    # by hand: mean 0.32, sum of squares 0.0034, standard error sqrt(0.0034 / 4 / 5)
    assert mean.mean == pytest.approx(0.32)
    assert mean.half_width == pytest.approx(2.7764451 * math.sqrt(0.0034 / 20), rel=1e-6)
    low, high = stats.t.interval(0.95, 4, 0.32, math.sqrt(0.0034 / 20))
    assert mean.interval == pytest.approx((low, high))
    assert mean_of([]) is None
    assert mean_of([3.0]).interval is None


def test_ratios_are_paired_by_seed():
    central = [row("central", seed=s, error_l1=0.1 * (s + 1)) for s in range(3)]
    twice = [row("distaim", seed=s, error_l1=0.2 * (s + 1)) for s in range(3)]
    group = summarise([*twice, *central])[1]
    assert group.ratios["error_l1"].mean == pytest.approx(2)
    assert group.ratios["error_l1"].interval == pytest.approx((2, 2))
    assert summarise(twice)[0].ratios == {}


def test_bytes_of_one_run_have_no_interval():
    copied = [row("distaim", seed=s, communication="one real run") for s in range(3)]
    metrics = summarise(copied)[0].metrics
    assert metrics["bytes_up"].interval is None
    assert metrics["nll"].interval is not None


def test_rows_are_written_in_order_and_come_back(tmp_path):
    rows = everything()
    written(tmp_path, list(reversed(rows)))
    lines = list(csv.DictReader(io.StringIO((tmp_path / "compare.csv").read_text())))
    assert list(lines[0]) == list(Row.model_fields)
    assert [line["method"] for line in lines] == [m for m in METHODS for _ in range(9)]
    assert [line["epsilon"] for line in lines[:9]] == ["1.0"] * 3 + ["5.0"] * 3 + ["10.0"] * 3
    content = json.loads((tmp_path / "compare.json").read_text())
    assert [Row.model_validate(entry) for entry in content["rows"]] == rows
    assert len(content["summary"]) == 3 * len(METHODS)


def test_the_oracle_is_marked_wherever_it_is_named(tmp_path):
    page = written(tmp_path, everything())
    text = re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL)
    names = list(re.finditer(r"augflaim-oracle|AugFLAIM \(Oracle\)", text))
    assert len(names) > 10
    for name in names:
        assert text[name.end() :].startswith(f" ({NOT_PRIVATE})"), text[name.start() - 40 :][:120]
    assert "for its owner" in page or "for the owner" in page.lower()
    write_plots(tmp_path, facts(), everything(), "x")
    for path in tmp_path.glob("x-*.svg"):
        assert f"AugFLAIM (Oracle) ({NOT_PRIVATE})" in path.read_text("utf-8")


def test_the_mark_is_not_given_to_private_methods(tmp_path):
    page = written(tmp_path, [row("flaim"), row("central")], facts(settings={}, remarks=[]))
    assert f"({NOT_PRIVATE})" not in page


def test_the_same_rows_give_the_same_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    written(tmp_path / "a", everything())
    written(tmp_path / "b", list(reversed(everything())))
    for name in ("compare.csv", "compare.json", "compare.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_page_needs_no_network(tmp_path):
    page = written(tmp_path, everything())
    links = re.findall(r"""(?:src|href)=["']([^"'#]+)""", page)
    assert [link for link in links if link.startswith(("http", "//"))] == []
    assert "<script" not in page
    assert page.count("<svg") >= 6


@pytest.mark.parametrize("method", METHODS)
def test_a_single_run_is_enough(tmp_path, method):
    page = written(
        tmp_path,
        [row(method, auc=None, error_other_l1=None)],
        facts(target=None, reference_auc=None),
    )
    assert "nan" not in re.sub(r"<[^>]*>", "", page).lower().split()
    content = json.loads((tmp_path / "compare.json").read_text())
    assert content["summary"][0]["metrics"]["auc"] is None


def test_signs_say_what_was_not_measured(tmp_path):
    rows = [row("distaim", seed=s, communication="one real run", is_real_mpc=False) for s in (0, 1)]
    assert "DistAIM †‡" in written(tmp_path, rows)
    assert "DistAIM †" not in written(tmp_path, [row("distaim")])


def test_texts_are_escaped(tmp_path):
    page = written(tmp_path, [row()], facts(remarks=["<script>alert(1)</script>"]))
    assert "<script>alert" not in page


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing to compare"):
        write_reports(tmp_path, facts(), [])

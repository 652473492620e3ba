"""compare.csv, compare.json and compare.html: numbers, marks, order, and the same bytes again."""

import csv
import json
import math
import random
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parties.compare.drawing import human_bytes, human_seconds, spread_apart
from parties.compare.page import write_plots, write_reports
from parties.compare.rows import METHODS, NOT_PRIVATE, Facts, Row
from parties.compare.statistics import mean_of, summarise, text_marker

ORACLE = "augflaim-oracle"
T_4 = 2.7764451049  # Student's t, 97.5 %, 4 degrees of freedom, from a printed table
FACTS = Facts(
    settings={"methods": list(METHODS), "holders": 100, "target": None, "plaintext_utility": True},
    n_rows=900,
    n_held_out=100,
    n_attributes=4,
    n_cliques=3,
    n_candidates=7,
    n_cells=120,
    target="income",
    reference_auc=0.9212,
    records_per_holder={"min": 2, "max": 20},
    heterogeneity_tv={"workload": 0.31},
    versions={"distaim": "0.1.0"},
    remarks=["augflaim-oracle reads <exact> marginals."],
)


def make_row(method: str, epsilon: str = "1", seed: int = 0, **changes) -> Row:
    content = {
        "method": method,
        "epsilon": epsilon,
        "seed": seed,
        "is_private": method != ORACLE,
        "error_l1": 0.25,
        "error_other_l1": 0.5,
        "nll": 11.0,
        "auc": 0.8,
        "bytes_up": 0.0 if method == "central" else 5e5,
        "max_bytes_up": 0 if method == "central" else 600_000,
        "bytes_down": 0.0 if method == "central" else 1e6,
        "bytes_servers": 7_300_000_000 if method == "distaim" else 0,
        "communication": {"central": "none", "distaim": "one real run"}.get(method, "measured"),
        "is_real_mpc": False,
        "rounds": 10,
        "sigma": 20.9,
        "rho": 0.03056,
        "rho_spent": 0.03,
        "model_total": 901.5,
        "heterogeneity_tv": 0.31,
        "seconds": 12.0,
    }
    return Row(**(content | changes))


def make_rows(methods=METHODS, epsilons=("1", "3", "10"), n_seeds=3) -> list[Row]:
    rng = random.Random(5)
    return [
        make_row(
            m, e, s, error_l1=rng.uniform(0.1, 0.9), nll=rng.uniform(9, 12), auc=rng.uniform(0.7, 1)
        )
        for m in methods
        for e in epsilons
        for s in range(n_seeds)
    ]


class Page(HTMLParser):
    """The texts of a page with the elements around them, its table lines, ids and addresses."""

    void = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, tuple[str, ...]]] = []
        self.lines: list[list[str]] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open, "an element is not closed"

    def handle_starttag(self, tag, attrs) -> None:
        attributes = dict(attrs)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "svg":
            self.images.append(attributes)
        if tag == "tr":
            self.lines.append([])
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        if "id" in dict(attrs):
            self.ids.append(dict(attrs)["id"])

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and "style" not in self.open and data.strip():
            self.texts.append((data.strip(), tuple(self.open)))
            if "tr" in self.open:
                self.lines[-1].append(data.strip())

    def drawn(self) -> list[str]:
        return [text for text, around in self.texts if "svg" in around]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("full")
    rows = make_rows()
    random.Random(1).shuffle(rows)
    write_reports(out, FACTS, rows)
    return out


@pytest.fixture(scope="module")
def page(written):
    return Page((written / "compare.html").read_text("utf-8"))


def test_an_interval_is_students_t_over_the_seeds() -> None:
    # mean 3, squared deviations 4 + 1 + 0 + 1 + 4 = 10, variance 10/4, standard error sqrt(1/2)
    mean = mean_of([1, 2, 3, 4, 5])
    half = T_4 * math.sqrt(0.5)
    assert (mean.n, mean.mean) == (5, 3)
    assert mean.interval == pytest.approx((3 - half, 3 + half), rel=1e-9)
    assert mean.half_width == pytest.approx(half, rel=1e-9)


def test_two_seeds_have_the_wide_interval_of_one_degree_of_freedom() -> None:
    # t with one degree of freedom is Cauchy's: tan(0.475 pi) = 12.706; standard error 1
    assert mean_of([4, 6]).half_width == pytest.approx(math.tan(0.475 * math.pi), rel=1e-9)


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    assert mean_of([4.0]).interval is None
    assert mean_of([4.0]).half_width == 0
    assert mean_of([]) is None


def test_ratios_and_differences_pair_the_seeds() -> None:
    central = [make_row("central", seed=s, error_l1=e, nll=9 + e) for s, e in enumerate((1, 2, 4))]
    # Seed 7 has no partner; ratios on the others are 2, 4, 8, so logs are 1, 2, 3 times log 2.
    errors = ((2, 32.0), (0, 2.0), (1, 8.0), (7, 99.0))
    flaim = [make_row("flaim", seed=seed, error_l1=e, nll=9 + e) for seed, e in errors]
    own = summarise([*flaim, *central])[1]
    ratio = own.ratios["error_l1"]
    width = 4.3026527299 / math.sqrt(3)
    assert (ratio.n, ratio.mean) == (3, pytest.approx(4))
    assert ratio.interval == pytest.approx((2 ** (2 - width), 2 ** (2 + width)), rel=1e-9)
    assert own.differences["nll"].mean == pytest.approx((1 + 6 + 28) / 3)
    assert own.metrics["error_l1"].n == 4


def test_there_is_no_ratio_to_an_error_of_zero() -> None:
    rows = [make_row("central", error_l1=0.0), make_row("flaim")]
    own = summarise(rows)[1]
    assert own.ratios["error_l1"] is None
    assert own.differences["error_l1"].mean == 0.25


def test_without_central_there_is_nothing_to_pair_with() -> None:
    assert summarise([make_row("flaim")])[0].ratios == {}
    others = summarise([make_row("flaim", "3"), make_row("central", "1")])
    assert [group.ratios for group in others] == [{}, {}]


def test_bytes_of_one_run_get_no_interval_but_errors_do() -> None:
    rows = [make_row("distaim", seed=s, error_l1=0.1 * s, bytes_up=7.0) for s in range(3)]
    own = summarise(rows)[0]
    assert own.metrics["bytes_up"].interval is None
    assert own.metrics["bytes_up"].mean == 7
    assert own.metrics["error_l1"].interval is not None
    assert summarise([make_row("flaim", seed=s) for s in range(3)])[0].metrics["bytes_up"].interval


def test_groups_stand_in_the_order_of_methods_and_of_epsilon_as_a_number() -> None:
    rows = [make_row(m, e) for e in ("10", "3", "1/2") for m in reversed(METHODS)]
    expected = [(m, e) for m in METHODS for e in ("1/2", "3", "10")]
    assert [(group.method, group.epsilon) for group in summarise(rows)] == expected


def test_texts_for_one_epsilon_are_one_group() -> None:
    assert len(summarise([make_row("flaim", "1"), make_row("flaim", "1.0", 1)])) == 1


def test_csv_gives_every_row_back_in_order(tmp_path: Path) -> None:
    rows = [
        make_row("flaim", "10", 1, error_l1=1 / 3, auc=None),
        make_row("flaim", "1/2", 0),
        make_row("flaim", "10", 0, error_other_l1=None),
        make_row("central", "10", 0),
    ]
    write_reports(tmp_path, FACTS, rows)
    with (tmp_path / "compare.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == list(Row.model_fields)
    order = [rows[3], rows[1], rows[2], rows[0]]
    for line, row in zip(lines, order, strict=True):
        for name, value in row.model_dump().items():
            if name == "epsilon":
                assert float(line[name]) == {"10": 10, "1/2": 0.5}[value]
            elif value is None:
                assert line[name] == ""
            elif isinstance(value, (bool, str)):
                assert line[name] == str(value)
            else:
                assert float(line[name]) == value


def test_json_has_facts_rows_and_the_summary(written) -> None:
    content = json.loads((written / "compare.json").read_text("utf-8"))
    assert Facts(**content["facts"]) == FACTS
    rows = [Row(**row) for row in content["rows"]]
    assert sorted(rows, key=repr) == sorted(make_rows(), key=repr)
    assert len(content["summary"]) == len(METHODS) * 3
    private = {entry["method"]: entry["is_private"] for entry in content["summary"]}
    assert [method for method, yes in private.items() if not yes] == [ORACLE]
    first, later = content["summary"][0], content["summary"][4]
    own = [row.error_l1 for row in rows if row.method == "central" and row.epsilon == "1"]
    assert first["metrics"]["error_l1"]["mean"] == pytest.approx(sum(own) / 3)
    assert first["n"] == first["metrics"]["auc"]["n"] == 3
    assert first["ratio_to_central"] == {}
    assert later["method"] == "distaim"
    assert later["n_bytes_of_one_real_run"] == 3
    low, high = later["ratio_to_central"]["error_l1"]["interval"]
    assert low < later["ratio_to_central"]["error_l1"]["mean"] < high


def test_every_mention_of_the_oracle_is_marked(written) -> None:
    text = (written / "compare.html").read_text("utf-8")
    names = list(re.finditer(r"augflaim-oracle|AugFLAIM \(Oracle\)", text))
    assert len(names) > 20
    for name in names:
        assert text[name.end() :].startswith(f" ({NOT_PRIVATE})"), text[name.start() - 40 :][:120]


def test_the_mark_is_not_given_to_private_methods(tmp_path: Path) -> None:
    facts = FACTS.model_copy(update={"settings": {}, "remarks": []})
    write_reports(tmp_path, facts, make_rows(("central", "flaim"), ("1",), 1))
    assert f"({NOT_PRIVATE})" not in (tmp_path / "compare.html").read_text("utf-8")


def test_the_mark_stands_in_every_table_and_legend(page) -> None:
    label = f"AugFLAIM (Oracle) ({NOT_PRIVATE})"
    lines = [line for line in page.lines if line and line[0] == label]
    # what was compared; two errors, their ratios, NLL, AUC, differences, time; bytes and runs by ε
    assert len(lines) == 1 + 2 + 2 + 2 + 2 + 1 + 3 + 3
    assert page.drawn().count(label) == len(page.images) == 7


def test_copied_bytes_and_plaintext_utility_are_marked_and_explained(page) -> None:
    texts = [text for text, _ in page.texts]
    assert "DistAIM †‡" in texts
    assert "DistAIM" not in texts
    assert "one real run" in texts
    assert "plaintext oracle" in texts


def test_a_real_run_carries_no_signs(tmp_path: Path) -> None:
    rows = [make_row("distaim", communication="measured", is_real_mpc=True)]
    write_reports(tmp_path, FACTS, rows)
    text = (tmp_path / "compare.html").read_text("utf-8")
    assert "†" not in text
    assert "‡" not in text


def test_remarks_are_printed_escaped_and_the_page_says_that_it_is_not_private(written) -> None:
    text = (written / "compare.html").read_text("utf-8")
    assert "augflaim-oracle (not private) reads &lt;exact&gt; marginals." in text
    assert "This page is not private." in text
    assert '<tr><th scope="row">plaintext utility</th><td>yes</td></tr>' in text
    assert '<tr><th scope="row">target</th><td>–</td></tr>' in text
    assert "0.9212" in text


def test_the_page_needs_no_network_and_every_plot_says_what_it_shows(written, page) -> None:
    text = (written / "compare.html").read_text("utf-8")
    addresses = re.findall(r"""(?:href|src)="([^"#][^"]*)|url\(([^#][^)]*)""", text)
    assert addresses == []
    assert "<script" not in text
    assert "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    for image in page.images:
        assert image["role"] == "img"
        assert len(image["aria-label"]) > 30


def test_central_has_no_place_where_bytes_are_shown(page) -> None:
    captions = [text for text, around in page.texts if "figcaption" in around]
    assert any("Central AIM is left out" in caption for caption in captions)
    widths = [line for line in page.lines if line[0] == "central AIM" and len(line) == 6]
    assert widths == []  # the table of bytes has six columns


def test_the_same_rows_in_any_order_give_the_same_bytes(written, tmp_path: Path) -> None:
    write_reports(tmp_path, FACTS, make_rows())
    for name in ("compare.csv", "compare.json", "compare.html"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


@pytest.mark.parametrize("method", ["central", "distaim", "oneway"])
def test_one_run_of_one_method_without_auc_is_a_page(tmp_path: Path, method) -> None:
    facts = FACTS.model_copy(
        update={"target": None, "reference_auc": None, "settings": {}, "records_per_holder": {}}
    )
    write_reports(tmp_path, facts, [make_row(method, auc=None, error_other_l1=None)])
    text = (tmp_path / "compare.html").read_text("utf-8")
    assert "There is one seed only" in text
    assert "there is no target attribute" in text
    assert " ± 0" not in text
    assert ("No method here sends anything." in text) == (method == "central")
    summary = json.loads((tmp_path / "compare.json").read_text("utf-8"))["summary"]
    assert summary[0]["metrics"]["auc"] is None
    assert summary[0]["metrics"]["error_l1"]["interval"] is None


def test_an_auc_that_one_method_lacks_is_a_dash_for_it_alone(tmp_path: Path) -> None:
    rows = [make_row("central"), make_row("flaim", auc=None)]
    rows += [make_row("flaim", "3", 0, auc=0.7, error_l1=9e-4)]
    write_reports(tmp_path, FACTS, rows)
    lines = Page((tmp_path / "compare.html").read_text("utf-8")).lines
    assert ["FLAIM (naive)", "–", "0.7000"] in lines
    assert ["central AIM", "0.8000", "–"] in lines


def test_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        write_reports(tmp_path, FACTS, [])
    assert list(tmp_path.iterdir()) == []


def test_plots_for_the_docs_are_files_that_stay_the_same(tmp_path: Path) -> None:
    rows = make_rows(("central", "distaim", ORACLE), ("1",), 2)
    for prefix in ("adult", "again"):
        write_plots(tmp_path, FACTS, rows, prefix)
    names = ("error-epsilon", "error-bytes", "nll-epsilon", "auc-epsilon")
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{prefix}-{name}.svg" for prefix in ("adult", "again") for name in names
    }
    for name in names:
        text = (tmp_path / f"adult-{name}.svg").read_text("utf-8")
        assert text == (tmp_path / f"again-{name}.svg").read_text("utf-8")
        drawn = ["".join(e.itertext()).strip() for e in ET.fromstring(text).iter()]
        assert f"AugFLAIM (Oracle) ({NOT_PRIVATE})" in drawn
        assert "currentColor" not in text


def test_plots_without_numbers_are_not_written(tmp_path: Path) -> None:
    write_plots(tmp_path, FACTS, [make_row("central", auc=None)], "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "x-error-epsilon.svg",
        "x-nll-epsilon.svg",
    ]


def test_the_marker_marks_once() -> None:
    mark = text_marker([make_row("flaim")])
    once = "flaim, augflaim-oracle (not private), augflaim-private, AugFLAIM (Oracle) (not private)"
    assert mark(once.replace(" (not private)", "")) == once
    assert mark(once) == once


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (0, 0, "0 B"),
        (17, 0, "17 B"),
        (999, 0, "999 B"),
        (13_234_000, 0, "13.2 MB"),
        (1_234_000, 51_000, "1.23 ± 0.05 MB"),
        (7.3e9, 0, "7.30 GB"),
        (1.5e12, 2e9, "1,500 ± 2 GB"),
    ],
)
def test_bytes_are_in_units_that_people_read(value, spread, text: str) -> None:
    assert human_bytes(value, spread) == text


def test_long_times_are_minutes() -> None:
    assert human_seconds(12.34, 0.5) == "12.3 ± 0.5 s"
    assert human_seconds(119) == "119 s"
    assert human_seconds(150, 6) == "2.50 ± 0.10 min"
    assert human_seconds(0.004) == "0.00 s"


@given(st.lists(st.floats(0, 1), max_size=8).map(sorted))
def test_names_are_spread_apart_in_order_around_their_mean(heights) -> None:
    placed = spread_apart(heights, 0.065)
    assert all(b - a > 0.065 - 1e-9 for a, b in pairwise(placed))
    assert sum(placed) == pytest.approx(sum(heights), abs=1e-9)
    if all(b - a > 0.07 for a, b in pairwise(heights)):
        assert placed == pytest.approx(heights)

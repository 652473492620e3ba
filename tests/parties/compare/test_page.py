"""compare.csv, compare.json and compare.html: numbers, marks, order, and the same bytes again."""

import csv
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree as ET

import pytest

from parties.compare.page import write_plots, write_reports
from parties.compare.rows import METHODS, NOT_PRIVATE, Facts, Row
from tests.support.comparisons import FACTS, ORACLE, make_row, make_rows

Attributes = list[tuple[str, str | None]]


class Page(HTMLParser):
    """The texts of a page with the elements around them, its table lines, ids and addresses."""

    void: ClassVar = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, tuple[str, ...]]] = []
        self.lines: list[list[str]] = []
        self.ids: list[str | None] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()
        assert not self.open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        attributes = dict(attrs)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "svg":
            self.images.append(attributes)
        if tag == "tr":
            self.lines.append([])
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        if "id" in dict(attrs):
            self.ids.append(dict(attrs)["id"])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and "style" not in self.open and data.strip():
            self.texts.append((data.strip(), tuple(self.open)))
            if "tr" in self.open:
                self.lines[-1].append(data.strip())

    def drawn(self) -> list[str]:
        return [text for text, around in self.texts if "svg" in around]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("full")
    rows = make_rows()
    random.Random(1).shuffle(rows)
    write_reports(out, FACTS, rows)
    return out


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page((written / "compare.html").read_text("utf-8"))


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


def test_json_has_facts_rows_and_the_summary(written: Path) -> None:
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


def test_every_mention_of_the_oracle_is_marked(written: Path) -> None:
    text = (written / "compare.html").read_text("utf-8")
    names = list(re.finditer(r"augflaim-oracle|AugFLAIM \(Oracle\)", text))
    assert len(names) > 20
    for name in names:
        assert text[name.end() :].startswith(f" ({NOT_PRIVATE})"), text[name.start() - 40 :][:120]


def test_the_mark_is_not_given_to_private_methods(tmp_path: Path) -> None:
    facts = FACTS.model_copy(update={"settings": {}, "remarks": []})
    write_reports(tmp_path, facts, make_rows(("central", "flaim"), ("1",), 1))
    assert f"({NOT_PRIVATE})" not in (tmp_path / "compare.html").read_text("utf-8")


def test_the_mark_stands_in_every_table_and_legend(page: Page) -> None:
    label = f"AugFLAIM (Oracle) ({NOT_PRIVATE})"
    lines = [line for line in page.lines if line and line[0] == label]
    # what was compared; two errors, their ratios, NLL, AUC, differences, time; bytes and runs by ε
    assert len(lines) == 1 + 2 + 2 + 2 + 2 + 1 + 3 + 3
    assert page.drawn().count(label) == len(page.images) == 7


def test_copied_bytes_and_plaintext_utility_are_marked_and_explained(page: Page) -> None:
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


def test_remarks_are_printed_escaped_and_the_page_says_that_it_is_not_private(
    written: Path,
) -> None:
    text = (written / "compare.html").read_text("utf-8")
    assert "augflaim-oracle (not private) reads &lt;exact&gt; marginals." in text
    assert "This page is not private." in text
    assert '<tr><th scope="row">plaintext utility</th><td>yes</td></tr>' in text
    assert '<tr><th scope="row">target</th><td>–</td></tr>' in text
    assert "0.9212" in text


def test_the_page_needs_no_network_and_every_plot_says_what_it_shows(
    written: Path, page: Page
) -> None:
    text = (written / "compare.html").read_text("utf-8")
    addresses = re.findall(r"""(?:href|src)="([^"#][^"]*)|url\(([^#][^)]*)""", text)
    assert addresses == []
    assert "<script" not in text
    assert "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    for image in page.images:
        assert image["role"] == "img"
        assert len(image["aria-label"] or "") > 30


def test_central_has_no_place_where_bytes_are_shown(page: Page) -> None:
    captions = [text for text, around in page.texts if "figcaption" in around]
    assert any("Central AIM is left out" in caption for caption in captions)
    widths = [line for line in page.lines if line[0] == "central AIM" and len(line) == 6]
    assert widths == []  # the table of bytes has six columns


def test_the_same_rows_in_any_order_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    write_reports(tmp_path, FACTS, make_rows())
    for name in ("compare.csv", "compare.json", "compare.html"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


@pytest.mark.parametrize("method", ["central", "distaim", "oneway"])
def test_one_run_of_one_method_without_auc_is_a_page(tmp_path: Path, method: str) -> None:
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

"""Conditions on columns: what each kind of column can be asked for, and what is drawn then."""

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aim_core.errors import TableError
from aim_core.tables.sampled.conditions import Condition, conditions
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import schema_from_dict

SCHEMA = schema_from_dict(
    {
        "columns": [
            {"name": "age", "type": "integer", "min": 18, "max": 89, "bins": 18, "special": [999],
             "missing": True},
            {"name": "dose", "type": "integer", "min": 0, "max": 500, "bins": 4, "step": 25,
             "values": [100], "clip": True},
            {"name": "income", "type": "continuous", "min": 0, "max": 120_000, "bins": 16,
             "decimals": 2, "values": [0]},
            {"name": "weight", "type": "continuous", "min": 0, "max": 10, "bins": 4, "step": 0.05},
            {"name": "price", "type": "continuous", "values": [9.99, 19.99]},
            {"name": "day", "type": "date", "min": "2023-01-01", "max": "2024-12-31",
             "unit": "month", "format": "%d.%m.%Y"},
            {"name": "moment", "type": "datetime", "min": "2024-01-01T00:00:00", "unit": "day",
             "max": "2024-01-31T23:59:59", "zone": "Europe/Berlin", "step": "1min"},
            {"name": "clock", "type": "time", "min": "00:00:00", "max": "23:59:00", "bins": 24,
             "step": "1min", "format": "hhmm"},
            {"name": "stay", "type": "duration", "min": "0 days 00:00:00", "bins": 4,
             "max": "1 days 00:00:00", "step": "1min"},
            {"name": "grade", "type": "categorical", "values": ["low", "mid", "high"],
             "ordered": True},
            {"name": "icd", "type": "categorical",
             "groups": {"infections": ["A*", "B*"], "rest": ["C*"]}, "other": "none of these"},
            {"name": "smoker", "type": "boolean", "true": ["yes"], "false": ["no"]},
            {"name": "code", "type": "coded", "size": 5},
        ]
    }
)  # fmt: skip


def condition(name: str, asked: object, schema: Schema = SCHEMA) -> Condition:
    return conditions({name: asked}, schema)[name]


def drawn(name: str, asked: object) -> "pd.Series[Any]":
    """Decode each code that is asked for 500 times."""
    found, generator = condition(name, asked), np.random.default_rng(0)
    codes = np.repeat(np.flatnonzero(found.weights), 500).astype(np.int32)
    return found.column.decode(found.narrowed(codes, generator), generator)


@pytest.mark.parametrize(
    ("name", "asked", "values"),
    [
        ("age", 37, {37}),
        ("age", "37", {37}),
        ("age", [20, 21, 999], {20, 21, 999}),
        ("age", (None, 20), {18, 19, 20}),
        ("age", (41, 43), {41, 42, 43}),
        ("age", [(18, 19), 89], {18, 19, 89}),
        ("age", np.int64(37), {37}),
        ("dose", (60, 140), {75, 100, 125}),
        ("dose", 100, {100}),
        ("dose", [0, 500], {0, 500}),
        ("income", 0, {0.0}),
        ("income", 60_000.5, {60_000.5}),
        ("income", (5, 5.03), {5.0, 5.01, 5.02, 5.03}),
        ("weight", (1.01, 1.12), {1.05, 1.1}),
        ("weight", [9.95, 10], {9.95, 10.0}),
        ("price", (9, 15), {9.99}),
        ("price", 19.99, {19.99}),
        ("day", "29.02.2024", {"29.02.2024"}),
        ("day", dt.date(2024, 2, 29), {"29.02.2024"}),
        ("day", pd.Timestamp("2024-02-29"), {"29.02.2024"}),
        ("day", ("31.01.2023", "01.02.2023"), {"31.01.2023", "01.02.2023"}),
        ("moment", pd.Timestamp("2024-01-05 12:30", tz="UTC"), {"2024-01-05T13:30:00+01:00"}),
        ("clock", 517, {517}),
        ("clock", dt.time(5, 17), {517}),
        ("clock", (2358, None), {2358, 2359}),
        ("stay", pd.Timedelta(hours=3), {"0 days 03:00:00"}),
        ("stay", ("0 days 05:59:00", "0 days 06:00:00"), {"0 days 05:59:00", "0 days 06:00:00"}),
        ("grade", ("mid", None), {"mid", "high"}),
        ("grade", "low", {"low"}),
        ("icd", "A01", {"infections"}),
        ("icd", ["rest", "none of these"], {"rest", "none of these"}),
        ("smoker", True, {"yes"}),
        ("smoker", "no", {"no"}),
        ("code", (1, 3), {1, 2, 3}),
        ("code", 4, {4}),
    ],
)
def test_what_is_drawn_is_what_was_asked_for(name: str, asked: object, values: set[object]) -> None:
    assert set(drawn(name, asked)) == values


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, ""])
def test_missing_values_can_be_asked_for(missing: object) -> None:
    assert drawn("age", missing).isna().all()
    mixed = drawn("age", [missing, 18])
    assert mixed.isna().any()
    assert set(mixed.dropna()) == {18}


@pytest.mark.parametrize(
    ("name", "asked", "weights"),
    [
        ("age", 37, {4: 1 / 4}),
        ("age", (30, 40), {3: 1.0, 4: 1.0, 5: 3 / 4}),
        ("age", [20, 21, 999], {0: 1 / 2, 18: 1.0}),
        # 100 is listed; then 75 of 0, 25, 50, 75, and 125 of 125, 150, 175, 200, 225
        ("dose", (60, 140), {0: 1.0, 1: 1 / 4, 2: 1 / 5}),
        ("weight", (1.01, 1.12), {0: 2 / 50}),
        ("day", (None, "10.01.2023"), {0: 10 / 31}),
        ("smoker", True, {1: 1.0}),
    ],
)
def test_a_part_of_a_bin_weighs_less(name: str, asked: object, weights: dict[int, float]) -> None:
    found = condition(name, asked).weights
    assert {int(code): float(found[code]) for code in np.flatnonzero(found)} == pytest.approx(
        weights
    )


def test_parts_of_one_bin_share_its_rows() -> None:
    """Of 4 values in the bin, 18 and 20 are asked for: half of the rows have each."""
    found, generator = condition("age", [18, 20]), np.random.default_rng(1)
    codes = np.zeros(4000, dtype=np.int32)
    values = found.column.decode(found.narrowed(codes, generator), generator)
    counts = values.value_counts()
    assert set(counts.index) == {18, 20}
    assert abs(counts[18] - 2000) < 160  # 5 standard deviations, one in a million


@pytest.mark.parametrize(
    ("name", "asked", "text"),
    [
        ("sex", "F", "no column 'sex'"),
        ("age", 200, "200 is not a whole number from 18 to 89"),
        ("age", "old", "'old' is not a whole number"),
        ("age", (1, 2), "nothing lies in"),
        ("age", (40, 30), "the lower one first"),
        ("age", (30, 35, 40), "no range"),
        ("age", ("a", "b"), "needs two values"),
        ("age", [], "nothing lies in"),
        ("price", (11, 12), "one of the 2 listed"),
        ("dose", 1000, "is not a whole number"),  # `clip` brings in a table's values, not these
        ("dose", 10, "in steps of 25"),
        ("weight", (1.01, 1.02), "in steps of 0.05"),
        ("icd", "Z99", "is not one of"),  # `other` likewise
        ("smoker", ("no", "yes"), "no range"),
        ("smoker", None, "no missing values"),
        ("day", "2024-02-29", "written like 01.01.2023"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(name: str, asked: object, text: str) -> None:
    with pytest.raises(TableError, match=text):
        conditions({name: asked}, SCHEMA)

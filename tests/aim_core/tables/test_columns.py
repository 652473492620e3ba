"""What values come back: numbers that exist, formats, special codes, the rest."""

import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aim_core.errors import SchemaError, TableError
from aim_core.tables.cells import Cells
from aim_core.tables.columns.base import Column
from aim_core.tables.columns.listed import CategoricalColumn
from aim_core.tables.misfits import Misfits
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import schema_from_dict

YEARS = ["1940-01-01", "1941-10-02", "2020-01-01"]


def one(keys: Mapping[str, object]) -> Column:
    return schema_from_dict({"columns": [{"name": "x", **keys}]}).columns[0]


def codes(keys: Mapping[str, object], *values: str | None) -> list[int]:
    found: list[int] = one(keys).encode(Cells.of(values)).codes.tolist()
    return found


def decoded(keys: Mapping[str, object], *which: int) -> list[Any]:
    column = one(keys)
    found: list[Any] = column.decode(
        np.array(which, dtype=np.int32), np.random.default_rng(1)
    ).tolist()
    return found


def written(keys: Mapping[str, object], n: int = 400) -> set[str]:
    """Return the texts of a CSV file of many drawn values."""
    column = one(keys)
    drawn = column.decode(
        np.random.default_rng(0).integers(0, column.size, n).astype(np.int32),
        np.random.default_rng(1),
    )
    return set(drawn.to_csv(index=False, header=False).split())


def test_few_numbers_come_back_as_they_are() -> None:
    keys = {"type": "continuous", "values": [9.99, 19.99, 29.99]}
    assert codes(keys, "9.99", "19.990", "10", "x") == [0, 1, -1, -1]
    assert decoded(keys, 0, 1, 2) == [9.99, 19.99, 29.99]
    assert one(keys).labels() == ["9.99", "19.99", "29.99"]
    whole = {"type": "integer", "values": [0, 5, 10, 500]}
    assert written(whole) == {"0", "5", "10", "500"}
    assert codes(whole, "5.0", "6") == [1, -1]


def test_a_spike_stays_a_spike() -> None:
    keys = {"type": "continuous", "values": [0], "min": 0, "max": 100, "bins": 4, "step": 0.5}
    assert codes(keys, "0", "0.00", "0.5", "99.9", "100") == [0, 0, 1, 4, 4]
    drawn = decoded(keys, *[1] * 2000)
    assert 0 not in drawn
    assert set(np.array(drawn) * 2 % 1) == {0}
    assert (min(drawn), max(drawn)) == (0.5, 24.5)
    assert set(decoded(keys, *[0] * 50)) == {0}
    # a bin that has nothing else but the spike still gives what lies in it
    tiny = {"type": "integer", "values": [3], "edges": [3, 4, 9]}
    assert decoded(tiny, 1, 1) == [3, 3]


def test_steps() -> None:
    assert written({"type": "integer", "min": 0, "max": 100, "bins": 2, "step": 25}) == {
        *("0", "25", "50", "75", "100")
    }
    coins = {"type": "continuous", "min": 0.1, "max": 0.5, "bins": 2, "step": 0.05}
    assert written(coins) == {
        "0.1", "0.15", "0.2", "0.25", "0.3", "0.35", "0.4", "0.45", "0.5"
    }  # fmt: skip


def test_special_values_have_codes_of_their_own() -> None:
    keys = {
        "type": "integer",
        "min": 18,
        "max": 90,
        "bins": 4,
        "special": [999, -999],
        "missing": True,
        "missing_values": ["."],
    }
    column = one(keys)
    assert codes(keys, "18", "999", "-999.0", ".", "", None, "91") == [0, 4, 5, 6, 6, 6, -1]
    assert decoded(keys, 4, 5) == [999, -999]
    assert column.decode(np.array([4, 6]), np.random.default_rng()).dtype == "Int64"
    assert column.labels()[4:] == ["999", "-999", "missing"]
    assert column.intervals()[4:] == [None, None, None]
    inside = {"type": "integer", "min": 0, "max": 9, "special": ["9"]}
    assert codes(inside, "8", "9") == [8, 10]
    mixed = {"type": "continuous", "min": 0, "max": 1, "bins": 1, "special": ["refused"]}
    assert decoded(mixed, 1) == ["refused"]
    assert codes({"type": "date", "edges": ["2020-01-01", "2021-01-01"], "special": ["0000-00-00"]},
                 "0000-00-00", "2020-05-05") == [1, 0]  # fmt: skip


def test_missing_texts_of_a_column_win_over_its_values() -> None:
    keys = {"type": "integer", "min": -9, "max": 9, "missing_values": ["-9", "N"]}
    assert codes(keys, "-9", "N", "-8", "n") == [19, 19, 1, -1]
    assert one(keys).missing


def test_clip_and_other_are_counted_for_the_holder() -> None:
    schema = schema_from_dict(
        {
            "columns": [
                {"name": "a", "type": "categorical", "values": ["x", "y"], "other": "else"},
                {"name": "b", "type": "integer", "min": 0, "max": 9, "clip": True},
                {"name": "c", "type": "continuous", "min": 0, "max": 1, "bins": 2, "clip": True},
            ]
        }
    )
    chunk = {
        "a": Cells.of(["x", "w", "w"]),
        "b": Cells.of(["-5", "120", "3"]),
        "c": Cells.of(["1e300", "-0.1", "0.2"]),
    }
    misfits = Misfits()
    assert schema.encode_collecting(chunk, misfits, 1).tolist() == [[0, 0, 1], [2, 9, 0], [2, 3, 0]]
    assert not misfits
    assert misfits.notices() == [
        "column a: 2 values became 'else' (`other`)",
        "column b: 2 values were outside and brought to the nearest bin (`clip`)",
        "column c: 2 values were outside and brought to the nearest bin (`clip`)",
    ]
    with pytest.raises(TableError, match=r"2\.5"):
        schema.encode({**chunk, "b": Cells.of(["2.5", "1", "1"])})


def test_clip_takes_the_nearest_of_listed_numbers() -> None:
    keys = {"type": "integer", "values": [0, 10, 50], "clip": True}
    assert codes(keys, "4", "6", "1000", "x") == [0, 1, 2, -1]


@pytest.mark.parametrize(
    ("keys", "text", "code"),
    [
        ({"type": "date", "format": "%d.%m.%Y", "edges": YEARS},
         "01.10.1941", 0),
        ({"type": "date", "format": "%m/%d/%Y", "edges": YEARS},
         "10/01/1941", 0),
        ({"type": "date", "format": "%Y%m%d", "edges": YEARS},
         "19411002", 1),
        ({"type": "time", "format": "hhmm", "min": "00:00", "max": "23:59", "bins": 24}, "517", 5),
        ({"type": "time", "format": "hhmm", "min": "00:00", "max": "23:59", "bins": 24}, "14", 0),
        ({"type": "time", "min": "00:00", "max": "23:59:59", "bins": 24}, "23:59:59", 23),
        ({"type": "duration", "min": "0:00:00", "max": "8 days", "bins": 8}, "1 days 17:16:16", 1),
        ({"type": "datetime", "min": "2020-01-01", "max": "2020-01-03", "unit": "day",
          "zone": "+02:00"}, "2020-01-01T23:30:00+00:00", 1),
    ],
)  # fmt: skip
def test_times_are_read(keys: dict[str, object], text: str, code: int) -> None:
    assert codes(keys, text) == [code]


def test_times_are_written_back_as_they_were() -> None:
    hhmm = {"type": "time", "format": "hhmm", "min": "00:00", "max": "23:59", "bins": 24}
    times = written({**hhmm, "step": "15min"})
    assert all(int(time) % 100 in (0, 15, 30, 45) and int(time) < 2400 for time in times)
    assert {"0", "15", "515"} <= times
    zoned = {"type": "datetime", "min": "2020-01-01", "max": "2020-01-31", "unit": "week"}
    assert all(
        pd.Timestamp(text).isoformat() == text and text.endswith("+02:00")
        for text in written({**zoned, "zone": "+02:00"})
    )
    assert all(text.endswith(":00:00+0100") for text in written(
        {**zoned, "zone": "Europe/Berlin", "step": "1h", "format": "%Y-%m-%dT%H:%M:%S%z"}
    ))  # fmt: skip
    german = {"type": "date", "min": "2020-01-01", "max": "2020-12-31", "unit": "month"}
    assert all(pd.to_datetime(text, format="%d.%m.%Y").year == 2020 for text in written(
        {**german, "format": "%d.%m.%Y"}))  # fmt: skip
    spans = {"type": "duration", "min": "-1:00:00", "max": "2 days", "bins": 3, "step": "1h"}
    assert decoded({**spans, "format": "iso"}, 0)[0].endswith("H0M0S")


def test_a_moment_with_an_offset_does_not_fit_a_column_without_a_zone() -> None:
    keys = {"type": "datetime", "min": "2020-01-01", "max": "2020-01-31", "unit": "day"}
    assert codes(keys, "2020-01-02T00:00:00", "2020-01-02T00:00:00Z", "2020-01-02") == [1, -1, 1]


def test_groups() -> None:
    keys = {
        "type": "categorical",
        "groups": {
            "infectious": ["A00..B99"],
            "sepsis": ["A41*"],
            "one": ["A41.9", "C10"],
            "none": [],
        },
        "other": "not coded",
    }
    assert codes(keys, "A00", "B99.8", "A41.5", "A41.9", "C10", "C11", "one") == [
        *(0, 0, 1, 2, 2, 4, 2)
    ]
    assert decoded(keys, 0, 4) == ["infectious", "not coded"]
    assert schema_from_dict({"columns": [one(keys).to_dict()]}).columns[0] == one(keys)


def test_codes_that_look_like_numbers_stay_apart() -> None:
    keys = {"type": "categorical", "values": ["10E2", "1000", "7B3", "1e3"]}
    assert codes(keys, "1000", "10E2", "1e3", "1000.0", "7B3") == [1, 0, 3, 1, 2]
    assert codes({"type": "integer", "min": 0, "max": 2000}, "10E2", "1e3", "1E3", "1.0E3") == [
        *(-1, 1000, -1, 1000)
    ]


def test_a_schema_may_be_written_in_decomposed_letters() -> None:
    zurich, place = (unicodedata.normalize("NFD", text) for text in ("Zürich", "Städte"))
    schema = schema_from_dict(
        {
            "drop": [unicodedata.normalize("NFD", "Ärzte")],
            "columns": [
                {"name": place, "type": "categorical", "values": [zurich, "Bern"]},
                {"name": "g", "type": "categorical", "groups": {"z": [f"{zurich}*"]}},
            ],
        }
    )
    chunk = {"Städte": Cells.of(["Zürich", zurich, "Bern"]), "g": Cells.of(["Zürich 1"] * 3)}
    assert schema.encode({**chunk, "Ärzte": Cells.of(["1"] * 3)}).tolist() == [
        *([0, 0], [0, 0], [1, 0])
    ]
    with pytest.raises(SchemaError, match="'Zürich' twice"):
        schema_from_dict({zurich: 2, "Zürich": 2})
    assert CategoricalColumn("x", False, (zurich,)).encode(chunk["Städte"]).codes.tolist() == [
        *(0, 0, -1)
    ]


def test_ordered_categories_are_ordered() -> None:
    keys = {"type": "categorical", "values": ["low", "mid", "high"], "ordered": True}
    series = one({**keys, "missing": True}).decode(np.array([2, 0, 3]), np.random.default_rng())
    assert series.dtype == pd.CategoricalDtype(["low", "mid", "high"], ordered=True)
    assert series.isna().tolist() == [False, False, True]
    assert one(keys).intervals() == [(0, 0), (1, 1), (2, 2)]


def test_identifiers_are_not_read_and_numbered_anew() -> None:
    schema = schema_from_dict(
        {
            "columns": [
                {"name": "a", "type": "boolean"},
                {"name": "patient", "type": "id", "prefix": "P", "digits": 4},
                {"name": "row", "type": "id"},
            ]
        }
    )
    assert schema.domain.attributes == ("a",)
    assert schema.unread == ("patient", "row")
    assert schema.encode({"a": Cells.of(["yes"])}).tolist() == [[1]]
    table = schema.decode(np.array([[0], [1]]), np.random.default_rng())
    assert table.to_dict("list") == {
        "a": ["false", "true"],
        "patient": ["P0001", "P0002"],
        "row": [1, 2],
    }


def test_a_draft_says_so() -> None:
    schema = schema_from_dict({"draft": True, "columns": [{"name": "a", "type": "boolean"}]})
    assert schema.draft
    assert schema.to_dict()["draft"] is True
    assert "draft" not in Schema(schema.layout).to_dict()

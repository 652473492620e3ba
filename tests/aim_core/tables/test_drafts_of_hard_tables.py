"""Kinds of columns that used to come out wrong: what is drafted, and what comes back."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aim_core.tables.drafting import draft_schema
from aim_core.tables.files.reading import encoded_chunks

N = 400
RANDOM = np.random.default_rng(7)


def there_and_back(tmp_path: Path, values: list[Any]) -> tuple[dict[str, Any], list[str], str]:
    """Draft, code and decode one column; return its keys, the texts that come back, its note."""
    path = tmp_path / "t.csv"
    pd.DataFrame({"g": ["a", "b"] * (len(values) // 2), "x": values}).to_csv(path, index=False)
    draft = draft_schema(path)
    codes = np.concatenate(list(encoded_chunks(path, draft.schema)))
    table = draft.schema.decode(codes, np.random.default_rng(1))
    assert draft.schema.draft
    back = pd.read_csv(_write(tmp_path, table), dtype=str, keep_default_na=False)
    column = next(column for column in draft.schema.columns if column.name == "x")
    return column.to_dict(), back["x"].tolist(), draft.notes["x"]


def _write(tmp_path: Path, table: pd.DataFrame) -> Path:
    table.to_csv(tmp_path / "back.csv", index=False)
    return tmp_path / "back.csv"


def test_many_zeros_stay_zeros_and_cents_stay_cents(tmp_path: Path) -> None:
    tail = [round(float(x), 2) for x in RANDOM.lognormal(7, 1, N // 10)]
    keys, back, _ = there_and_back(tmp_path, [0.0] * (N - len(tail)) + tail)
    assert keys["values"] == [0.0]
    assert sum(float(x) == 0 for x in back) == N - len(tail)
    assert all(round(float(x), 2) == float(x) for x in back)


def test_few_numbers_keep_their_values(tmp_path: Path) -> None:
    for few in ([9.99, 19.99, 29.99, 5.0], [0, 5, 10, 500], [-1.5, 2.25, 1e5, 3.0]):
        _, back, _ = there_and_back(tmp_path, few * (N // 4))
        assert sorted({float(x) for x in back}) == sorted(few)


def test_sentinels_have_codes_of_their_own_and_leave_the_range_alone(tmp_path: Path) -> None:
    ages = [int(x) for x in RANDOM.integers(18, 90, N - 20)]
    keys, back, note = there_and_back(tmp_path, [*ages, *[999] * 12, *[-999] * 8])
    assert sorted(keys["special"]) == ["-999", "999"]
    assert "special 999: 12 rows" in note
    assert (back.count("999"), back.count("-999")) == (12, 8)
    others = [int(x) for x in back if x not in ("999", "-999")]
    assert 18 <= min(others) <= max(others) < 90


def test_texts_for_missing_and_odd_ones_are_named_and_counted(tmp_path: Path) -> None:
    measures = [f"{x:.1f}" for x in RANDOM.normal(27, 4, N - 22)]
    keys, back, note = there_and_back(tmp_path, [*measures, *["."] * 20, "see file", "see file"])
    assert keys["type"] == "continuous"
    assert (keys["missing_values"], keys["special"]) == (["."], ["see file"])
    assert "'.' in 20 rows" in note
    assert "'see file' in 2 rows" in note
    assert (back.count(""), back.count("see file")) == (20, 2)


def test_dates_come_back_in_their_format(tmp_path: Path) -> None:
    days = pd.to_datetime("1950-01-15") + pd.to_timedelta(RANDOM.integers(0, 25_000, N), "D")
    for form in ("%d.%m.%Y", "%m/%d/%Y", "%Y%m%d", "%d-%b-%Y"):
        keys, back, _ = there_and_back(tmp_path, days.strftime(form).tolist())
        assert (keys["type"], keys["format"]) == ("date", form)
        assert pd.to_datetime(pd.Series(back), format=form).dt.year.between(1950, 2020).all()
    unknown = [*days.strftime("%Y-%m-%d")[:-40], *["0000-00-00"] * 40]
    keys, back, note = there_and_back(tmp_path, unknown)
    assert (keys["type"], keys["missing_values"]) == ("date", ["0000-00-00"])
    assert back.count("") == 40
    assert "'0000-00-00' in 40 rows" in note


def test_moments_times_and_durations_keep_what_they_say(tmp_path: Path) -> None:
    moments = pd.to_datetime("2020-01-01") + pd.to_timedelta(RANDOM.integers(0, 10**6, N), "s")
    zoned = [f"{moment.isoformat()}+02:00" for moment in moments]
    keys, back, _ = there_and_back(tmp_path, zoned)
    assert (keys["type"], keys["zone"], keys["step"]) == ("datetime", "+02:00", "1s")
    assert all(text.endswith("+02:00") and len(text) == 25 for text in back)
    keys, back, _ = there_and_back(tmp_path, moments.strftime("%Y-%m-%d %H:%M").tolist())
    assert (keys["format"], keys["step"]) == ("%Y-%m-%d %H:%M", "1min")
    numbers = [int(moment.strftime("%H%M")) for moment in moments]
    keys, back, _ = there_and_back(tmp_path, numbers)
    assert (keys["type"], keys["format"]) == ("time", "hhmm")
    assert all(int(x) < 2400 and int(x) % 100 < 60 for x in back)
    spans = [f"{x // 24} days {x % 24:02}:30:00" for x in RANDOM.integers(0, 200, N)]
    keys, back, _ = there_and_back(tmp_path, spans)
    assert keys["type"] == "duration"
    assert all(" days " in text and text.endswith(":00") for text in back)


def test_codes_with_an_e_stay_texts(tmp_path: Path) -> None:
    keys, back, _ = there_and_back(tmp_path, ["10E2", "1000", "11E5", "7B3"] * (N // 4))
    assert keys["type"] == "categorical"
    assert {text: back.count(text) for text in set(back)} == dict.fromkeys(
        ["10E2", "1000", "11E5", "7B3"], N // 4
    )


def test_persons_do_not_become_public(tmp_path: Path) -> None:
    for private in (
        [f"Person {chr(97 + i)}" for i in range(20)],
        [int(x) for x in RANDOM.permutation(np.arange(5000, 5040))],
    ):
        path = tmp_path / "p.csv"
        table = pd.DataFrame({"g": ["a", "b"] * (len(private) // 2), "x": private})
        table.to_csv(path, index=False)
        assert list(draft_schema(path).dropped) == ["x"]


def test_steps_are_kept(tmp_path: Path) -> None:
    _, back, _ = there_and_back(tmp_path, [int(x) * 25 for x in RANDOM.integers(40, 200, N)])
    assert all(int(x) % 25 == 0 for x in back)

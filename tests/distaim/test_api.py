"""The Python API: DataFrames in and out, quietly, in any thread."""

import contextlib
import datetime as dt
import io
import signal
import threading
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest

import distaim
from aim_core.errors import MechanismError, SchemaError, TableError
from aim_core.studies.clinic import clinic_table
from parties.errors import ConfigError
from parties.wire.events import Event
from tests.support.fresh_process import ROOT, run_program

NOTE = 'x,\n"y" 1,234'
"""A text that a CSV file would have to quote."""


def table(n_rows: int = 1200) -> pd.DataFrame:
    """Return a table of many types whose index says nothing."""
    generator = np.random.default_rng(1)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.integers(0, 90, n_rows), unit="D")
    frame = pd.DataFrame(
        {
            "age": generator.integers(18, 90, n_rows).astype("int8"),
            "sex": pd.Categorical(generator.choice(["f", "m"], n_rows)),
            "smoker": pd.array(generator.choice([True, False], n_rows), dtype="boolean"),
            "visits": pd.array(generator.integers(0, 6, n_rows), dtype="Int64"),
            "gain": np.where(generator.random(n_rows) < 0.9, 0.0, 250.5),
            "day": days,
            "note": pd.array(generator.choice(["x", "y"], n_rows), dtype="string"),
        },
        index=generator.permutation(n_rows),
    )
    frame.loc[frame.index[::10], ["day", "visits"]] = pd.NA
    return frame


@pytest.fixture(scope="module")
def schema() -> distaim.Schema:
    """Return a schema as somebody writes it who knows what the columns are."""
    return distaim.Schema.from_dict(
        {
            "columns": [
                {"name": "age", "type": "integer", "min": 18, "max": 99, "bins": 41},
                {"name": "sex", "type": "categorical", "values": ["f", "m"]},
                {"name": "smoker", "type": "boolean"},
                {"name": "visits", "type": "integer", "min": 0, "max": 9, "missing": True},
                {"name": "gain", "type": "continuous", "values": [0, 250.5]},
                {"name": "day", "type": "date", "min": "2024-01-01", "max": "2024-12-31",
                 "unit": "month", "format": "%d.%m.%Y", "missing": True},
                {"name": "note", "type": "categorical", "values": ["x", "y"]},
            ]
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(schema: distaim.Schema) -> distaim.Result:
    return distaim.run(table(), schema, epsilon=10, delta=1e-6, rounds=2, seed=1)


def test_a_run_gives_a_table_of_the_same_columns_and_types(result: distaim.Result) -> None:
    assert result.table.dtypes.to_dict() == table().dtypes.to_dict()
    assert result.table.index.equals(pd.RangeIndex(len(result.table)))
    assert abs(len(result.table) - 1200) < 100
    # epsilon is 10: noise of some tens of rows at the most
    assert abs((result.table["gain"] == 0).mean() - 0.9) < 0.1
    assert set(result.table["gain"]) <= {0.0, 250.5}
    assert abs(result.table["day"].isna().mean() - 0.1) < 0.1


def test_facts_are_public_and_exact(result: distaim.Result) -> None:
    assert (result.facts.exact.epsilon, result.facts.exact.delta) == ("10", "1e-06")
    assert result.facts.oracle == "plaintext"
    assert (result.facts.rounds, result.facts.rows) == (2, len(result.table))
    assert result.facts.is_private
    assert result.facts.rho_spent <= result.facts.rho_budget
    assert "workload_error" not in result.facts.model_dump_json()
    assert result.warnings == result.facts.warnings
    assert result.notices == ()


def test_a_model_samples_and_comes_back_from_its_file(
    result: distaim.Result, tmp_path: Path
) -> None:
    result.model.save(tmp_path / "model.npz")
    model = distaim.Model.load(tmp_path / "model.npz")
    assert model.schema == result.model.schema
    assert abs(model.n_records - 1200) < 100
    again = model.sample(len(result.table), seed=1)
    pd.testing.assert_frame_equal(again, result.table)
    assert not model.sample(len(result.table)).equals(result.table)
    some = model.sample(
        40, where={"sex": "f", "age": (30, 33), "smoker": True, "day": (dt.date(2024, 2, 1), None)}
    )
    assert len(some) == 40
    assert set(some["sex"]) == {"f"}
    assert some["age"].between(30, 33).all()
    assert some["smoker"].all()
    assert (some["day"] >= "2024-02-01").all()
    assert some.dtypes.to_dict() == table().dtypes.to_dict()


def test_a_draft_is_marked_and_a_run_says_so(tmp_path: Path) -> None:
    draft = distaim.Schema.draft(table())
    assert draft.is_draft
    assert draft.columns == list(table())
    assert "taken from the data" in draft.to_toml()
    found = distaim.run(table(), draft, epsilon=1, rounds=1, rows=5)
    assert "draft" in found.warnings[0]
    assert found.model.schema.is_draft
    assert len(found.table) == 5
    assert not draft.reviewed().is_draft
    for name in ("schema.toml", "schema.json"):
        draft.save(tmp_path / name)
        assert distaim.Schema.load(tmp_path / name) == draft
    assert distaim.Schema.from_dict(draft.to_dict()) == draft


def test_what_the_schema_brings_in_is_told_to_the_owner() -> None:
    keys = {"name": "age", "type": "integer", "min": 18, "max": 60, "clip": True}
    clipping = distaim.Schema.from_dict({"columns": [keys], "drop": ["who"]})
    ages = pd.DataFrame({"age": [17, 30, 61], "who": [["nested"], [], []]})
    found = distaim.run(ages, clipping, epsilon=1, rounds=1, rows=3)
    assert "2 values" in found.notices[0]
    assert list(found.table) == ["age"]


def test_workloads_are_texts_or_lists(schema: distaim.Schema) -> None:
    wide = distaim.run(table(), schema, epsilon=1, rounds=1, rows=5, workload=[["age", "sex"]])
    named = distaim.run(table(), schema, epsilon=1, rounds=1, rows=5, workload="age,sex")
    assert wide.facts.candidates == named.facts.candidates
    assert wide.facts.workload == "workload.json"


def test_inputs_that_cannot_be_used_are_refused(schema: distaim.Schema) -> None:
    with pytest.raises(ConfigError, match="no oracle 'clear'"):
        distaim.run(table(), schema, epsilon=1, oracle="clear")
    with pytest.raises(TypeError, match=r"distaim\.Schema"):
        distaim.run(table(), "schema.toml", epsilon=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="DataFrame"):
        distaim.Schema.draft({"a": [1]})  # type: ignore[arg-type]
    with pytest.raises(TableError, match="no rows"):
        distaim.run(table().iloc[:0], schema, epsilon=1)
    with pytest.raises(TableError, match="does not fit"):
        distaim.run(table().assign(sex="x"), schema, epsilon=1)
    with pytest.raises(distaim.ERRORS, match="epsilon"):
        distaim.run(table(), schema, epsilon=0)
    with pytest.raises(MechanismError, match="not a saved model"):
        distaim.Model.load(ROOT / "README.md")
    with pytest.raises(SchemaError, match="unknown type"):
        distaim.Schema.from_dict({"columns": [{"name": "a", "type": "colour"}]})


def test_nothing_is_printed_unless_asked_for(
    schema: distaim.Schema, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[Event] = []
    distaim.run(table(), schema, epsilon=1, rounds=1, rows=5, progress=told.append)
    distaim.run(table(), schema, epsilon=1, rounds=1, rows=5)
    assert capfd.readouterr() == ("", "")
    assert [event.event for event in told if event.event != "warning"] == [
        "measure", "select", "measure", "sample",
    ]  # fmt: skip
    with contextlib.redirect_stderr(io.StringIO()) as shown:
        distaim.run(table(), schema, epsilon=1, rounds=1, rows=5, progress=True)
    assert "measured 7 one-way marginals" in shown.getvalue()


def test_two_runs_at_once_in_two_threads(schema: distaim.Schema) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    rows: dict[int, int] = {}

    def one(number: int) -> None:
        found = distaim.run(table(), schema, epsilon=1, rounds=2, rows=10 + number)
        rows[number] = len(found.table)

    threads = [threading.Thread(target=one, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows == {0: 10, 1: 11}
    assert {number: signal.getsignal(number) for number in handlers} == handlers


@pytest.mark.slow
def test_compute_parties_do_the_same_in_a_thread(schema: distaim.Schema) -> None:
    found: list[distaim.Result] = []

    def one() -> None:
        odd = table(200).assign(note=NOTE)
        keys = {"name": "note", "type": "categorical", "values": [NOTE, "z"]}
        columns = cast("list[dict[str, object]]", schema.to_dict()["columns"])
        own = distaim.Schema.from_dict({"columns": [*columns[:-1], keys]})
        found.append(distaim.run(odd, own, epsilon=1, rounds=1, rows=20, oracle="mpc"))

    thread = threading.Thread(target=one)
    thread.start()
    thread.join()
    assert found[0].facts.oracle == "mpc"
    assert len(found[0].facts.bytes_sent) == 3
    assert found[0].table.dtypes.drop("note").to_dict() == table().dtypes.drop("note").to_dict()


def test_the_import_changes_and_starts_nothing() -> None:
    program = (
        "import os, signal, sys, threading\n"
        "before = dict(os.environ), signal.getsignal(signal.SIGTERM)\n"
        "import distaim\n"
        "assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == before\n"
        "assert threading.active_count() == 1\n"
        "print(sorted({'matplotlib.pyplot', 'jax', 'sklearn', 'mpyc'} & set(sys.modules)))"
    )
    done = run_program(program, ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_the_clinics_table_goes_through() -> None:
    clinic = clinic_table(np.random.default_rng(3), 500)
    drafted = distaim.Schema.draft(clinic).reviewed()
    found = distaim.run(clinic, drafted, epsilon=5, rounds=2)
    assert set(found.table) <= set(clinic)
    assert found.table["region"].isin(clinic["region"]).all()

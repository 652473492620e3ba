"""`distaim sample`: conditions as they are written, and files of the form that their names say."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from aim_core.models.model_file import save_model
from aim_core.models.tree_model import calibrate
from aim_core.tables.schema_file import schema_from_dict
from parties.cli.app import app
from parties.cli.sample import read_where
from parties.errors import ConfigError

SCHEMA = schema_from_dict(
    {
        "columns": [
            {"name": "age", "type": "integer", "min": 0, "max": 99, "bins": 10, "missing": True},
            {"name": "a=b", "type": "categorical", "values": ["x", "1..2"], "special": [9]},
            {"name": "day", "type": "date", "min": "2024-01-01", "max": "2024-12-31",
             "unit": "month"},
            {"name": "mixed", "type": "integer", "min": 0, "max": 9, "special": ["refused"]},
        ]
    }
)  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    save_model(path, calibrate(SCHEMA.domain, {}, 100), SCHEMA)
    return path


def sample(model: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["sample", str(model), *words])


def test_rows_go_to_the_screen_as_csv(model: Path) -> None:
    result = sample(model, "--rows", "5", "--seed", "1")
    lines = result.stdout.splitlines()
    assert (result.exit_code, lines[0], len(lines)) == (0, "age,a=b,day,mixed", 6)
    assert sample(model, "--rows", "5", "--seed", "1").stdout == result.stdout
    assert len(sample(model).stdout.splitlines()) == 101


def test_conditions_are_values_ranges_and_what_is_missing(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "some.csv"
    words = ["--where", "age=30..33", "--where", "age=", "--where", "day=2024-12-24..",
             "--where", "a=b=1..2"]  # fmt: skip
    assert sample(model, *words, "--rows", "200", "--out", str(out)).exit_code == 0
    table = pd.read_csv(out)
    assert table["age"].isna().any()
    assert set(table["age"].dropna()) == {30, 31, 32, 33}
    assert table["day"].min() >= "2024-12-24"
    assert set(table["a=b"]) == {"1..2"}


def test_what_is_asked_for_is_read_by_the_columns_kind() -> None:
    columns = {column.name: column for column in SCHEMA.columns}
    read = read_where(["age=..7", "age=9", "a=b=1..2", "mixed=refused", "day="], columns)
    assert read == {"age": [(None, "7"), "9"], "a=b": ["1..2"], "mixed": ["refused"], "day": [None]}
    with pytest.raises(ConfigError, match="does not begin with a column"):
        read_where(["height=3"], columns)
    with pytest.raises(ConfigError, match="does not begin with a column"):
        read_where(["age"], columns)


def test_a_files_name_says_its_form(model: Path, tmp_path: Path) -> None:
    for name in ("x.json", "x.parquet", "x.csv"):
        told = sample(model, "--rows", "30", "--seed", "2", "--out", str(tmp_path / name), "--json")
        assert json.loads(told.stdout) == {"rows": 30, "seed": 2, "out": str(tmp_path / name)}
    records = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert list(records[0]) == ["age", "a=b", "day", "mixed"]
    written, read = pd.read_parquet(tmp_path / "x.parquet"), pd.read_csv(tmp_path / "x.csv")
    ages = [None if pd.isna(age) else int(age) for age in read["age"]]
    assert [record["age"] for record in records] == ages
    assert [None if pd.isna(age) else int(age) for age in written["age"]] == ages
    assert written["day"].tolist() == read["day"].tolist()
    assert written["mixed"].tolist() == [str(value) for value in read["mixed"]]


def test_what_cannot_be_written_or_asked_for_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "there.csv").touch()
    for words, text in (
        (["--out", "x.xyz"], "ends in .csv, .json, .parquet"),
        (["--out", "x"], "does not say the form"),
        (["--out", str(tmp_path / "there.csv")], "nothing is overwritten"),
        (["--where", "age=200"], "not a whole number from 0 to 99"),
        (["--where", "height=1"], "the columns are: age, a=b, day, mixed"),
        (["--json"], "--out"),
    ):
        result = sample(model, *words)
        assert result.exit_code == 2
        assert text in result.stderr
    assert CliRunner().invoke(app, ["sample", str(tmp_path / "no.npz")]).exit_code == 2

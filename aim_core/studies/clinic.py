"""A generated table for demonstrations: patients of an invented clinic, with its own schema.

Types are mixed, values are missing, and columns depend strongly on each other, so that a
synthetic table can be seen to keep or to lose something. No real person stands behind it.
"""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from aim_core.arrays import FloatArray, Indices
from aim_core.tables.columns.listed import BooleanColumn, CategoricalColumn
from aim_core.tables.columns.numbers import ContinuousColumn, IntegerColumn
from aim_core.tables.columns.temporal import DateColumn
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import save_schema

N_ROWS = 4000
SEED = 20240229

REGIONS = ("city", "coast", "hills", "islands", "plain")
EDUCATION = ("primary", "secondary", "vocational", "university")
EMPLOYMENT = ("student", "employed", "self-employed", "unemployed", "retired")
DIAGNOSES = ("check-up", "infection", "asthma, chronic", "diabetes", "heart disease", "injury")

_FIRST_DAY, _LAST_DAY = date(2023, 1, 1), date(2024, 12, 31)


def clinic_schema() -> Schema:
    """Return the clinic's schema, which follows from how the table is made."""
    return Schema(
        (
            IntegerColumn("age", False, 18, 89, 18),
            CategoricalColumn("region", False, REGIONS),
            CategoricalColumn("education", False, EDUCATION),
            CategoricalColumn("employment", False, EMPLOYMENT),
            ContinuousColumn("income", True, 0.0, 120_000.0, 16, decimals=2),
            BooleanColumn("smoker", True, ("yes",), ("no",)),
            ContinuousColumn("bmi", False, 15.0, 45.0, 12, decimals=1),
            CategoricalColumn("diagnosis", True, DIAGNOSES),
            IntegerColumn("visits", False, 0, 15),
            DateColumn("last_visit", True, _FIRST_DAY.toordinal(), _LAST_DAY.toordinal(), "month"),
        ),
        drop=("patient",),
    )


def write_clinic(directory: Path, seed: int = SEED) -> tuple[Path, Path]:
    """Write `table.csv` and `schema.toml` into a directory, the same bytes for the same seed."""
    directory.mkdir(parents=True, exist_ok=True)
    table, schema = directory / "table.csv", directory / "schema.toml"
    clinic_table(np.random.default_rng(seed)).to_csv(table, index=False, lineterminator="\n")
    save_schema(clinic_schema(), schema)
    return table, schema


def clinic_table(generator: np.random.Generator, n_rows: int = N_ROWS) -> pd.DataFrame:
    """Generate patients: age and place first, then what depends on them."""
    age = np.clip(generator.gamma(6.0, 8.0, n_rows), 18, 89).astype(np.int64)
    region = _pick(generator, np.tile([5.0, 2.0, 1.5, 0.5, 3.0], (n_rows, 1)))
    education = _education(generator, age, region)
    employment = _employment(generator, age, education)
    income = _income(generator, education, employment, region)
    smoker = generator.random(n_rows) < np.array([0.5, 0.3, 0.35, 0.1])[education]
    bmi = np.clip(generator.normal(23.0 + age / 12 - 1.5 * education, 4.0), 15.0, 45.0)
    diagnosis = _diagnosis(generator, age, smoker, bmi)
    visits = np.minimum(generator.poisson(np.array([0.5, 2, 6, 7, 9, 3])[diagnosis]), 15)
    frame = pd.DataFrame(
        {
            "patient": [f"P{number:05d}" for number in range(1, n_rows + 1)],
            "age": age,
            "region": np.array(REGIONS, dtype=object)[region],
            "education": np.array(EDUCATION, dtype=object)[education],
            "employment": np.array(EMPLOYMENT, dtype=object)[employment],
            "income": income.round(2),
            "smoker": np.where(smoker, "yes", "no").astype(object),
            "bmi": bmi.round(1),
            "diagnosis": np.array(DIAGNOSES, dtype=object)[diagnosis],
            "visits": visits,
            "last_visit": _last_visit(generator, diagnosis),
        }
    )
    return _with_gaps(generator, frame)


def _pick(generator: np.random.Generator, weights: FloatArray) -> Indices:
    """Draw one index per row of (n, k) weights."""
    sums = np.cumsum(weights, axis=1)
    drawn = generator.random((len(sums), 1)) * sums[:, -1:]
    indices: Indices = np.sum(sums < drawn, axis=1)
    return indices


def _education(generator: np.random.Generator, age: Indices, region: Indices) -> Indices:
    young, in_city = (age < 45)[:, None], (region == 0)[:, None]
    weights = np.where(young, [0.5, 3.0, 3.0, 3.5], [3.0, 3.0, 3.0, 1.0])
    return _pick(generator, weights * np.where(in_city, [1.0, 1.0, 0.7, 3.0], [1.0, 1.0, 1.5, 0.7]))


def _employment(generator: np.random.Generator, age: Indices, education: Indices) -> Indices:
    weights = np.tile([0.05, 8.0, 2.0, 1.0, 0.05], (len(age), 1))
    weights[age < 26] = [8.0, 4.0, 0.3, 1.0, 0.0]
    weights[age >= 64] = [0.0, 0.6, 0.6, 0.0, 9.0]
    weights[:, 3] *= np.array([4.0, 1.5, 1.0, 0.4])[education]
    return _pick(generator, weights)


def _income(
    generator: np.random.Generator, education: Indices, employment: Indices, region: Indices
) -> FloatArray:
    by_work = np.array([7e3, 36e3, 42e3, 11e3, 21e3])[employment]
    by_education = np.array([0.7, 0.9, 1.0, 1.6])[education]
    by_region = np.array([1.25, 1.0, 0.9, 0.8, 0.95])[region]
    spread = np.exp(generator.normal(0.0, 0.22, len(region)))
    income: FloatArray = np.minimum(by_work * by_education * by_region * spread, 120_000.0)
    return income


def _diagnosis(
    generator: np.random.Generator, age: Indices, smoker: npt.NDArray[np.bool_], bmi: FloatArray
) -> Indices:
    weights = np.tile([6.0, 2.0, 0.3, 0.2, 0.2, 1.0], (len(age), 1))
    weights[smoker, 2] += 4.0
    weights[:, 3] += np.maximum(bmi - 28.0, 0.0)
    weights[:, 4] += np.maximum(age - 55, 0) * np.where(smoker, 0.3, 0.1)
    return _pick(generator, weights)


def _last_visit(generator: np.random.Generator, diagnosis: Indices) -> list[str]:
    """Draw a day of the two years; infections fall into January to March."""
    n_days = (_LAST_DAY - _FIRST_DAY).days + 1
    days = generator.integers(0, n_days, len(diagnosis))
    winter = 365 * generator.integers(0, 2, len(days)) + generator.integers(0, 90, len(days))
    chosen = np.where(diagnosis == 1, winter, days)
    return [(_FIRST_DAY + timedelta(days=int(day))).isoformat() for day in chosen]


def _with_gaps(generator: np.random.Generator, frame: pd.DataFrame) -> pd.DataFrame:
    """Take values away: high incomes are kept back more often; who never came has no visit."""
    n_rows = len(frame)
    high = frame["income"].to_numpy() > 60_000
    frame["income"] = frame["income"].mask(generator.random(n_rows) < np.where(high, 0.3, 0.05))
    frame["smoker"] = frame["smoker"].mask(generator.random(n_rows) < 0.08)
    frame["diagnosis"] = frame["diagnosis"].mask(generator.random(n_rows) < 0.04)
    frame["last_visit"] = frame["last_visit"].mask(frame["visits"] == 0)
    return frame

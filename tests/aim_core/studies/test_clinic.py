from pathlib import Path

import numpy as np
import pandas as pd

from aim_core.arrays import CodeTable
from aim_core.counts.marginals import count_marginals
from aim_core.studies.clinic import clinic_schema, clinic_table, write_clinic
from aim_core.tables.cells import frame_cells
from aim_core.tables.files.reading import encoded_chunks
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import load_schema


def information(codes: CodeTable, schema: Schema, left: str, right: str) -> float:
    """Mutual information in bits, minus what independent columns of this size would show."""
    clique = schema.domain.canonical((left, right))
    shape = schema.domain.shape(clique)
    p = count_marginals([codes], schema.domain, [clique])[clique].reshape(shape) / len(codes)
    product = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    bias = (shape[0] - 1) * (shape[1] - 1) / (2 * len(codes) * np.log(2))
    return float(np.sum(p[p > 0] * np.log2(p[p > 0] / product[p > 0])) - bias)


def test_the_clinic_fits_its_schema_and_is_the_same_every_time(tmp_path: Path) -> None:
    table, schema_file = write_clinic(tmp_path / "one")
    again, _ = write_clinic(tmp_path / "two")
    assert table.read_bytes() == again.read_bytes()
    other, _ = write_clinic(tmp_path / "three", seed=5)
    assert table.read_bytes() != other.read_bytes()
    schema = load_schema(schema_file)
    assert schema == clinic_schema()
    codes = np.vstack(list(encoded_chunks(table, schema)))
    assert codes.shape == (4000, 10)
    assert (codes.min(0) == 0).all()


def test_the_clinic_has_missing_values_and_strong_dependencies(tmp_path: Path) -> None:
    table, _ = write_clinic(tmp_path)
    frame = pd.read_csv(table)
    for name in ("income", "smoker", "diagnosis", "last_visit"):
        assert 50 < frame[name].isna().sum() < 2000
    schema = clinic_schema()
    codes = schema.encode(frame_cells(clinic_table(np.random.default_rng(1))))
    for pair in (("age", "employment"), ("employment", "income"), ("visits", "last_visit")):
        assert information(codes, schema, *pair) > 0.3
    for pair in (("region", "education"), ("smoker", "diagnosis"), ("education", "bmi")):
        assert information(codes, schema, *pair) > 0.02

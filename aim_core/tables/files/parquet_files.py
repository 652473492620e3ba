"""Tables in Parquet files."""

from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aim_core.errors import TableError
from aim_core.tables.cells import Cells, Chunk
from aim_core.tables.files.checks import checked_names, first_bytes

PARQUET_MAGIC = b"PAR1"
"""How a Parquet file begins."""


def parquet_chunks(path: Path, n_rows: int, skip: Collection[str]) -> Iterator[Chunk]:
    """Read a Parquet file in chunks; TableError for what is no table, as `read_chunks` says."""
    first_bytes(path)
    try:
        with pq.ParquetFile(path) as file:
            names = checked_names(path, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=n_rows):
                named = zip(names, batch.columns, strict=True)
                yield {
                    name: Cells.of_arrow(column, name) for name, column in named if name not in skip
                }
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"cannot read {path} as Parquet: {error}; write the file again, or give CSV"
        ) from error

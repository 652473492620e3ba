"""Tables in Parquet, Feather and Arrow files, whose cells have types."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aim_core.errors import TableError
from aim_core.tables.cells import Cells, Chunk
from aim_core.tables.files.checks import checked_names
from aim_core.tables.files.forms import Form


def arrow_chunks(path: Path, form: Form, n_rows: int, skip: Collection[str]) -> Iterator[Chunk]:
    """Read a Parquet or Arrow file in chunks; TableError for no table, as `read_chunks` says."""
    batches = _parquet_batches if form is Form.PARQUET else _arrow_batches
    try:
        for batch in batches(path, n_rows):
            named = zip(checked_names(path, batch.schema.names), batch.columns, strict=True)
            yield {name: Cells.of_arrow(column, name) for name, column in named if name not in skip}
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"cannot read {path} as {form.value}: {error}; write the file again, or give CSV"
        ) from error


def _parquet_batches(path: Path, n_rows: int) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        checked_names(path, file.schema_arrow.names)
        yield from file.iter_batches(batch_size=n_rows)


def _arrow_batches(path: Path, n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the batches of an Arrow file (Feather is one) or of an Arrow stream, cut small."""
    with ExitStack() as stack:
        mapped = stack.enter_context(pa.memory_map(str(path)))
        if mapped.read(6) == b"ARROW1":
            file = stack.enter_context(pa.ipc.open_file(mapped))
            batches = (file.get_batch(index) for index in range(file.num_record_batches))
        else:
            mapped.seek(0)
            batches = stack.enter_context(pa.ipc.open_stream(mapped))
        for batch in batches:
            # what a file says of its own lengths is not taken on trust
            batch.validate(full=True)
            for start in range(0, batch.num_rows, n_rows):
                yield batch.slice(start, n_rows)

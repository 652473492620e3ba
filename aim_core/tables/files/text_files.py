"""The lines of a text table: unpacked from gzip or zip, decoded, none of them too long."""

import codecs
import gzip
import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TextIO, cast
from zipfile import ZipFile

from aim_core.errors import TableError
from aim_core.tables.files.checks import N_FIRST_BYTES
from aim_core.tables.files.formats import TableFormat, option
from aim_core.tables.files.forms import Form, check_packed

_N_LINE_CHARACTERS = 2**24
"""Most characters of a line: what has longer ones is no table, and would not fit into memory."""

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as the next does, so it is asked for first
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@contextmanager
def opened_lines(path: Path, form: Form, known: TableFormat) -> Iterator[Iterator[str]]:
    """Open a text table as its lines, with their ends.

    The encoding is the one that is known, or else the one of a byte order mark, or else UTF-8.
    Raises TableError for another one, for a packed file that holds none or several, and for a line
    of more than 16 million characters; an OSError, EOFError or zlib.error of a broken file comes
    as it is.
    """
    with ExitStack() as stack:
        raw = io.BufferedReader(cast("io.RawIOBase", _raw(path, form, stack)), 16 * N_FIRST_BYTES)
        head = raw.peek(N_FIRST_BYTES)[:N_FIRST_BYTES]
        if form is not Form.TEXT:
            check_packed(path, head)
        encoding = known.encoding or _encoding(path, head)
        text = stack.enter_context(io.TextIOWrapper(raw, encoding, newline=""))
        try:
            yield _lines(path, text)
        except UnicodeError as error:
            raise _undecodable(path, encoding, known, error) from error


def _raw(path: Path, form: Form, stack: ExitStack) -> gzip.GzipFile | IO[bytes]:
    """Open the bytes of the table itself, all to be closed with the stack."""
    if form is Form.GZIP:
        return cast("IO[bytes]", stack.enter_context(gzip.GzipFile(path)))
    if form is Form.ZIP:
        archive = stack.enter_context(ZipFile(path))
        return stack.enter_context(archive.open(_only_member(path, archive)))
    return stack.enter_context(path.open("rb"))


def _only_member(path: Path, archive: ZipFile) -> str:
    """Return the name of the one file in a zip, not counting what systems add on their own."""
    members = [
        each
        for each in archive.infolist()
        if not each.is_dir() and not each.filename.startswith("__MACOSX/")
    ]
    if len(members) != 1:
        raise TableError(
            f"the zip file {path} holds {len(members)} files; give one with the table alone"
        )
    if members[0].flag_bits & 1:
        raise TableError(f"the zip file {path} has a password; unpack it and give the table")
    return members[0].filename


def _encoding(path: Path, head: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(head) > 1 and not any(head[start::2]):
            raise TableError(
                f"the table {path} looks like UTF-16 without a mark at its beginning; say so with "
                f"{option('encoding', encoding)}, or convert it to UTF-8"
            )
    return "utf-8"


def _lines(path: Path, text: TextIO) -> Iterator[str]:
    number = 0
    while line := text.readline(_N_LINE_CHARACTERS):
        number += 1
        if len(line) == _N_LINE_CHARACTERS:
            raise TableError(
                f"line {number} of {path} has over {_N_LINE_CHARACTERS:,} characters; this is no "
                "table of rows, give one"
            )
        yield line.removeprefix("\ufeff") if number == 1 else line


def _undecodable(path: Path, encoding: str, known: TableFormat, error: UnicodeError) -> TableError:
    reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
    if known.encoding is not None:
        return TableError(
            f"the table {path} is not {encoding} text ({reason}); say what it is with "
            f"{option('encoding')}, or convert it to UTF-8"
        )
    name = encoding.upper()
    return TableError(
        f"the table {path} is not {name} text ({reason}); say what it is with "
        f"{option('encoding')}: often cp1252 (Windows, Excel), latin-1 or mac-roman; or convert "
        "it to UTF-8"
    )

"""What a file is: its first bytes say so, or else its name; what cannot be read gets advice."""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from aim_core.errors import TableError
from aim_core.tables.files.checks import first_bytes

_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")


class Form(Enum):
    """The forms of files that tables are read from."""

    TEXT = "text"
    GZIP = "gzip"
    ZIP = "zip"
    PARQUET = "Parquet"
    ARROW = "Arrow"
    EXCEL = "Excel"


@dataclass(frozen=True)
class _Foreign:
    """A form that is not read: what to call it, what to do, and how to recognise it.

    `magic` is a pattern of the first bytes, `member` the name of a file in it if it is a zip.
    """

    what: str
    advice: str
    magic: str = r"(?!)"
    suffixes: tuple[str, ...] = ()
    member: str = ""

    def error(self, path: Path) -> TableError:
        """Say what the file is and how to convert it."""
        return TableError(f"{path} is {self.what}; {self.advice}")


_MARKUP = r"(?i:(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|table|\?xml))"
_JSON = r'(?:\xef\xbb\xbf)?\s*(?:\{\s*["}]|\[\s*[{[])'
_SAS = r"\x00{12}\xc2\xea\x81\x60\xb3\x14\x11\xcf\xbd\x92|HEADER RECORD\*{7}LIBRARY"
_STATA = r"<stata_dta>|[ilnoqrs][\x01\x02]\x01\x00"
_R = r"RD[AX][1-3]\n|X\n\x00\x00\x00[\x02\x03]"
_PICKLE = r"\x80[\x02-\x05][\x95}\]cK]"
_AS_PARQUET = "in Python with pandas: pandas.read_{0}(file).to_parquet(..)"

_FOREIGN = (
    _Foreign(
        "an old Excel file (.xls) or a protected one",
        "open it in Excel or LibreOffice and save it as .xlsx without a password, or as CSV",
        r"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        (".xls",),
    ),
    _Foreign(
        "a binary Excel file (.xlsb)",
        "save it as .xlsx, or as CSV",
        suffixes=(".xlsb",),
        member="xl/workbook.bin",
    ),
    _Foreign(
        "an OpenDocument spreadsheet (.ods)",
        "open it in LibreOffice and save it as .xlsx, or as CSV",
        suffixes=(".ods",),
        member="content.xml",
    ),
    _Foreign("a Word document", "save the table in it as CSV", member="word/document.xml"),
    _Foreign(
        "an SPSS file (.sav)",
        "save it as CSV in SPSS, or " + _AS_PARQUET.format("spss"),
        r"\$FL[23]",
        (".sav", ".zsav", ".por"),
    ),
    _Foreign(
        "a Stata file (.dta)",
        "save it with `export delimited` in Stata, or " + _AS_PARQUET.format("stata"),
        _STATA,
        (".dta",),
    ),
    _Foreign(
        "a SAS file (.sas7bdat)",
        "save it as CSV with PROC EXPORT in SAS, or " + _AS_PARQUET.format("sas"),
        _SAS,
        (".sas7bdat", ".xpt"),
    ),
    _Foreign(
        "an R file (.rds or .RData)",
        "save the table in R: write.csv(table, file, row.names = FALSE)",
        _R,
        (".rds", ".rda", ".rdata"),
    ),
    _Foreign(
        "an SQLite database",
        "save one table of it as CSV: sqlite3 -header -csv FILE 'SELECT * FROM name' > name.csv",
        r"SQLite format 3\x00",
        (".sqlite", ".sqlite3", ".db"),
    ),
    _Foreign("a PDF", "give the table that it was made from, as CSV", r"%PDF", (".pdf",)),
    _Foreign(
        "an HTML or XML file",
        "open it in LibreOffice or Excel and save the table in it as CSV",
        _MARKUP,
        (".html", ".htm", ".xml"),
    ),
    _Foreign(
        "a JSON file",
        "save it as a table, " + _AS_PARQUET.format("json"),
        _JSON,
        (".json", ".jsonl", ".ndjson"),
    ),
    _Foreign("an HDF5 file", "save one table of it as CSV", r"\x89HDF\r\n", (".h5", ".hdf5")),
    _Foreign("an ORC file", "save it, " + _AS_PARQUET.format("orc"), suffixes=(".orc",)),
    _Foreign("an old Feather file (version 1)", "write it again as Parquet", r"FEA1"),
    _Foreign(
        "a Python pickle, which is never opened",
        "save the table as Parquet or CSV",
        _PICKLE,
        (".pkl", ".pickle"),
    ),
    _Foreign("packed with bzip2", "unpack it with bunzip2", r"BZh[1-9]1AY", (".bz2",)),
    _Foreign("packed with xz", "unpack it with unxz", r"\xfd7zXZ\x00", (".xz",)),
    _Foreign("packed with zstd", "unpack it with unzstd", r"\x28\xb5\x2f\xfd", (".zst",)),
    _Foreign("a 7z archive", "unpack it and give the table", r"7z\xbc\xaf\x27\x1c", (".7z",)),
    _Foreign("a tar archive", "unpack it and give the table", r"(?s:.{257})ustar", (".tar",)),
)

_SUFFIXES = {
    ".parquet": Form.PARQUET,
    ".pq": Form.PARQUET,
    ".feather": Form.ARROW,
    ".arrow": Form.ARROW,
    ".xlsx": Form.EXCEL,
    ".xlsm": Form.EXCEL,
}
_MAGICS = {
    b"PAR1": Form.PARQUET,
    b"ARROW1": Form.ARROW,
    b"\xff\xff\xff\xff": Form.ARROW,
    b"\x1f\x8b": Form.GZIP,
}


def form_of(path: Path) -> Form:
    """Return the form of a file, by its first bytes, or else by the end of its name.

    Raises TableError, which says what the file is and how to convert it, for a form that is not
    read.
    """
    head = first_bytes(path)
    if head.startswith(_ZIP_MAGICS):
        return _zip_form(path)
    for magic, form in _MAGICS.items():
        if head.startswith(magic):
            return form
    _refuse_foreign(path, head)
    suffix = path.suffix.lower()
    for foreign in _FOREIGN:
        if suffix in foreign.suffixes:
            raise TableError(
                f"{path} is by its name {foreign.what}; {foreign.advice} (a text table needs "
                "another name, such as .csv)"
            )
    return _SUFFIXES.get(suffix, Form.TEXT)


def check_packed(path: Path, head: bytes) -> None:
    """Raise TableError if what is packed in a file, by its first bytes, is no text table."""
    _refuse_foreign(path, head)
    for magic in (*_MAGICS, *_ZIP_MAGICS):
        if head.startswith(magic):
            raise TableError(f"{path} holds a packed file that is no text; unpack it and give that")


def _refuse_foreign(path: Path, head: bytes) -> None:
    for foreign in _FOREIGN:
        if re.match(foreign.magic.encode("latin-1"), head):
            raise foreign.error(path)


def _zip_form(path: Path) -> Form:
    try:
        with ZipFile(path) as archive:
            names = set(archive.namelist())
    except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
        if _SUFFIXES.get(path.suffix.lower()) is Form.EXCEL:
            raise TableError(
                f"{path}: this is an Excel file, but a broken one ({error}); save it again in "
                "Excel, or as CSV"
            ) from error
        raise TableError(f"cannot read {path} as zip: {error}; pack it again") from error
    if "xl/workbook.xml" in names:
        return Form.EXCEL
    for foreign in _FOREIGN:
        if foreign.member in names:
            raise foreign.error(path)
    return Form.ZIP

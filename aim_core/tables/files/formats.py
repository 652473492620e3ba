"""How a table is written in its file: what a user says of it; the rest is found where it is clear.

Nothing heavy is loaded here: the command line names these classes.
"""

import io
from dataclasses import dataclass, fields
from pathlib import Path

from aim_core.errors import TableError

STDIN = Path("-")
"""Stands for standard input where a table's path is asked for."""

_WORDS = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "pipe": "|",
    "space": " ",
    "point": ".",
    "apostrophe": "'",
    "none": "",
}
_DECIMALS = (".", ",")
_THOUSANDS = ("", ",", ".", "'", "’", " ", "\u00a0", "\u202f")


@dataclass(frozen=True, kw_only=True)
class TableFormat:
    """What is known of a text table; None is found in the file where it is clear.

    `separator` stands between cells, `decimal` (a point or a comma) in numbers, `thousands`
    between groups of three digits, the empty text for no such mark. `header` says whether the
    first row has names. Marks may be given as words, such as tab, comma, none. Raises TableError
    for what cannot be.
    """

    separator: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    header: bool | None = None

    def __post_init__(self) -> None:
        for name in ("separator", "encoding", "decimal", "thousands"):
            written = getattr(self, name)
            if not isinstance(written, str | None):
                raise TableError(f"{name} must be a text in quotes, not {written!r}")
            if name != "encoding":
                object.__setattr__(self, name, _WORDS.get(written or "", written))
        separator = self.separator
        if separator is not None and (len(separator) != 1 or separator in '"\r\n\0'):
            raise TableError(
                f"the separator {separator!r} is not one character; give one, or a word: comma, "
                "semicolon, tab, pipe, space"
            )
        if self.decimal not in (None, *_DECIMALS):
            raise TableError(f"the decimal mark {self.decimal!r} is neither point nor comma")
        if self.thousands not in (None, *_THOUSANDS):
            raise TableError(
                f"the thousands mark {self.thousands!r} is none of those in use; give comma, "
                "point, space, apostrophe or none"
            )
        if self.decimal is not None and self.decimal == self.thousands:
            raise TableError(
                f"decimals and thousands cannot both have the mark {self.decimal!r}; change one"
            )
        if self.header not in (True, False, None):
            raise TableError(f"header must be true or false, not {self.header!r}")
        if self.encoding is not None:
            _check_encoding(self.encoding)

    @property
    def given(self) -> list[str]:
        """Return the names of what was said, in the order of the fields."""
        return [each.name for each in fields(self) if getattr(self, each.name) is not None]


@dataclass(frozen=True)
class TableSource:
    """A table's file, or standard input, and what is known of how it is written."""

    path: Path
    format: TableFormat = TableFormat()

    @classmethod
    def of(cls, source: "TableSource | Path | str") -> "TableSource":
        """Return a source as it is; of a path alone, everything is found in the file."""
        return source if isinstance(source, TableSource) else cls(Path(source))


def option(name: str, value: str = "") -> str:
    """Name an option of a format for error texts, where it is given: command line and config."""
    return f"--{name} {value}".rstrip() + f" (`{name}` under [format] in a holder's config)"


def _check_encoding(name: str) -> None:
    try:
        io.TextIOWrapper(io.BytesIO(), name)
    except (LookupError, ValueError) as error:
        raise TableError(
            f"there is no encoding {name!r} for texts; give one such as utf-8, utf-16, cp1252 "
            "(Windows), latin-1 or mac-roman"
        ) from error

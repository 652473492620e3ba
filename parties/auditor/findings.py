"""What an audit finds: level, place, text."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class AuditFinding:
    """One finding. `source` is a party, the estimator, the manifest or the job as a whole."""

    level: Level
    source: str
    line: int | None
    field: str | None
    text: str

    def __str__(self) -> str:
        place = ", ".join(
            [
                self.source,
                *([f"line {self.line}"] if self.line is not None else []),
                *([f"field {self.field}"] if self.field is not None else []),
            ]
        )
        return f"{self.level}: {place}: {self.text}"

    def to_dict(self) -> dict[str, str | int | None]:
        """Return the finding as a JSON object."""
        return asdict(self)


class Findings:
    """Findings in the order in which they are made, each once."""

    def __init__(self) -> None:
        self._found: dict[AuditFinding, None] = {}

    def __iter__(self) -> Iterator[AuditFinding]:
        return iter(self._found)

    @property
    def errors(self) -> int:
        """Count the findings that are errors."""
        return sum(finding.level == "error" for finding in self)

    def error(
        self, source: str, text: str, *, line: int | None = None, field: str | None = None
    ) -> None:
        """Note what must not be."""
        self._found[AuditFinding("error", source, line, field, text)] = None

    def warning(
        self, source: str, text: str, *, line: int | None = None, field: str | None = None
    ) -> None:
        """Note what could not be checked, or what an operator should know."""
        self._found[AuditFinding("warning", source, line, field, text)] = None

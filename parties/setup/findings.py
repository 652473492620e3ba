"""What the doctor finds: what was seen, why it matters, and what to do about it."""

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that was checked; what is not ok has a cause and a fix."""

    level: Level
    check: str
    what: str
    cause: str = ""
    fix: str = ""

    def text(self) -> str:
        """Write the finding for a terminal."""
        lines = [f"{self.level:7} {self.check}: {self.what}"]
        lines += [f"        cause: {self.cause}"] if self.cause else []
        lines += [f"        fix:   {self.fix}"] if self.fix else []
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str]:
        """Return the finding as plain values."""
        return asdict(self)

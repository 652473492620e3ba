"""The recorded test vectors."""

import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
Case = dict[str, Any]
"""JSON of a vector; its fields are those of the format that it is of."""


def read_vectors(name: str) -> Case:
    """Return what is recorded of a format."""
    content: Case = json.loads((VECTORS / f"{name}.json").read_text("utf-8"))
    return content

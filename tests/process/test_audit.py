"""The audit of a real run, byte by byte."""

from pathlib import Path

import numpy as np

from parties.auditor.audit import audit
from tests.support.processes.finished_run import FinishedRun


def test_any_changed_byte_is_found(finished_run: FinishedRun, tmp_path: Path) -> None:
    """In every line of one party, a byte in each field is changed; also each end of line."""
    job = finished_run.copy(tmp_path / "out")
    path = job.out / "transcript" / "party-1.jsonl"
    data = path.read_bytes()
    spots = [k for k in range(len(data)) if data[k : k + 2] == b'":' or data[k : k + 1] == b"\n"]
    generator = np.random.default_rng(5)
    spots = [*generator.choice(spots, 40, replace=False).tolist(), len(data) - 1]
    for spot in spots:
        # the value behind a key, the key itself, or the end of a line
        place = spot if data[spot : spot + 1] == b"\n" else spot + int(generator.choice([-1, 3]))
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        found = audit([job.out])
        line = data[:place].count(b"\n") + 1
        assert found.verdict == "failed", (place, data[place - 20 : place + 20])
        assert any(f.source in ("party 1", path.name) and f.line in (line, line + 1)
                   for f in found.findings), (place, found.findings)  # fmt: skip

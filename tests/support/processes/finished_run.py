"""One small real run that several test modules look at, with the keys of its roles kept."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parties.auditor.audit import Audit
from parties.canonical import canonical
from parties.identity.signatures import Signer
from parties.wire.chain import head_after
from parties.wire.transcript import PURPOSE

N_PARTIES = 3

Lines = list[dict[str, Any]]
"""A transcript's lines, parsed."""

Edit = Callable[[Lines], object]
"""Changes lines in place."""

SCRIPT = """
import shutil, sys
from pathlib import Path
from parties.local import run
from parties.local.options import RunOptions

start, out, keys = run.LocalNetwork.run, Path(sys.argv[1]), Path(sys.argv[2])

def keep(network):
    shutil.copytree(network._work / "keys", keys)
    return start(network)

run.LocalNetwork.run = keep
run.run(RunOptions(out=out, rounds=2, seed=1, holders=3), lambda event: None)
"""


@dataclass(frozen=True)
class FinishedRun:
    """A run's results, and its keys, which a run throws away: so a test can forge lines."""

    out: Path
    keys: Path

    def copy(self, out: Path) -> "FinishedRun":
        """Return a copy in a new folder, which a test may change."""
        shutil.copytree(self.out, out)
        return FinishedRun(out, self.keys)

    def signer(self, name: str) -> Signer:
        return Signer(self.keys / f"{name}.key")

    def forge(self, name: str, edit: Edit, signer: Signer | None = None) -> None:
        """Change a transcript and chain and sign it anew: what the owner of the key could do."""
        path = self.out / "transcript" / f"{name}.jsonl"
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        edit(lines)
        signer = signer or self.signer(name)
        head, texts = lines[0]["previous"], []
        for line in lines:
            line["previous"] = head
            line.pop("signature", None)
            line["signature"] = signer.sign(PURPOSE, canonical(line))
            texts.append(canonical(line))
            head = head_after(texts[-1])
        path.write_bytes(b"".join(text + b"\n" for text in texts))

    def forge_all(self, edit: Edit, pids: Iterable[int] = range(N_PARTIES)) -> None:
        for pid in pids:
            self.forge(f"party-{pid}", edit)


def places(found: Audit, level: str = "error") -> set[tuple[str, int | None, str | None]]:
    """Return the source, line and field of every finding of a level."""
    return {(f.source, f.line, f.field) for f in found.findings if f.level == level}


def events(lines: Lines, event: str) -> Lines:
    return [line for line in lines if line["event"] == event]


def make_finished_run(folder: Path) -> FinishedRun:
    """Run everything once on the demo table, with results and keys in `folder`."""
    out, keys = folder / "out", folder / "keys"
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out), str(keys)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return FinishedRun(out, keys)

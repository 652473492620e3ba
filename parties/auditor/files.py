"""Transcripts as an auditor reads them: every line checked, nothing taken on its word."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from aim_core.arrays import Counts
from parties.agreement.manifest import Manifest
from parties.agreement.values import describe
from parties.auditor.findings import Findings
from parties.canonical import canonical, read_json
from parties.errors import ConfigError, IdentityError
from parties.identity.signatures import Verifier
from parties.wire.chain import SIGNATURE, head_after
from parties.wire.entries import (
    ENTRIES,
    AnyEntry,
    BeginLine,
    DriveLine,
    FreezeLine,
    Marginal,
    MeasuredLine,
    MeasureLine,
    SelectedLine,
    SelectLine,
)
from parties.wire.messages import LedgerEntry
from parties.wire.transcript import PURPOSE, first_head, values_digest

_MANIFESTS = ("manifest.json", "manifest.toml")


@dataclass(frozen=True)
class Line:
    """A line that could be read: its number from 1, the head before it, what it says."""

    number: int
    previous: str
    entry: AnyEntry


@dataclass
class TranscriptFile:
    """One file. `party` is None for the estimator's; `lines` are those that could be read."""

    path: Path
    data: bytes
    source: str
    party: int | None
    lines: list[Line] = field(default_factory=list)

    def check_arrays(
        self, measured: MeasuredLine, sizes: Sequence[int], line: int, findings: Findings
    ) -> None:
        """Check that every noisy marginal is there, of the right size, with the written hash."""
        if len(measured.marginals) != len(sizes):
            text = f"{len(measured.marginals)} marginals for {len(sizes)} cliques"
            findings.error(self.source, text, line=line, field="marginals")
            return
        for marginal, size in zip(measured.marginals, sizes, strict=True):
            try:
                values = self.array(marginal)
            except ConfigError as error:
                findings.error(self.source, str(error), line=line, field="marginals")
                continue
            if values.shape != (size,):
                text = f"a marginal has shape {values.shape}, its clique has {size} cells"
                findings.error(self.source, text, line=line, field="marginals")

    def array(self, marginal: Marginal) -> Counts:
        """Return a noisy marginal, int64 flat; ConfigError if it is not what its hash says."""
        if (marginal.values is None) == (marginal.file is None):
            raise ConfigError("a marginal needs either its values or a file")
        try:
            if marginal.file is None:
                values = np.array(marginal.values, np.int64)
            else:
                values = np.load(self.path.parent / marginal.file, allow_pickle=False)
        except (OSError, ValueError, OverflowError, EOFError) as error:
            raise ConfigError(f"a noisy marginal cannot be read ({error})") from error
        if values.dtype != np.dtype("<i8") or values_digest(values) != marginal.sha256:
            raise ConfigError("a noisy marginal does not have the hash that is written for it")
        return values.astype(np.int64)


@dataclass(frozen=True)
class ChargedRequest:
    """One charged request and its answer, with their line numbers; None: it was not answered.

    A charge that a party booked on its peers' word after a crash has no request in its transcript.
    """

    line: int
    charge: LedgerEntry
    request: SelectLine | MeasureLine | None
    answer_line: int
    answer: SelectedLine | MeasuredLine | None


@dataclass
class Account:
    """What one party's transcript says, as far as it makes sense.

    `lost` are the requests that a crash broke off after they were charged.
    """

    source: str
    file: TranscriptFile
    charged: list[ChargedRequest] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    finished: bool = False

    @property
    def n_holders(self) -> int:
        """Count the holders whose uploads were frozen; 1 if the transcript does not say."""
        freezes = [line.entry for line in self.file.lines if isinstance(line.entry, FreezeLine)]
        return max((len(entry.uploads) for entry in freezes), default=1)


def find_manifest(run_dirs: Sequence[Path]) -> Path:
    """Return the first manifest in the folders; ConfigError if there is none."""
    for folder in run_dirs:
        for name in _MANIFESTS:
            if (folder / name).is_file():
                return folder / name
    raise ConfigError(
        "none of the folders has a manifest.json or manifest.toml; name it with --manifest"
    )


def find_transcripts(run_dirs: Sequence[Path]) -> list[Path]:
    """Return the transcripts in the folders and their `transcript` folders.

    ConfigError for a path that is no folder, or if there are no transcripts at all.
    """
    found = []
    for folder in run_dirs:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder; name the folders that hold transcripts")
        for where in (folder, folder / "transcript"):
            found += [path for path in sorted(where.glob("*.jsonl")) if path.stem != "ledger"]
    if not found:
        names = ", ".join(map(str, run_dirs))
        raise ConfigError(f"there is no transcript (*.jsonl) in {names} or its transcript folder")
    return found


def read_file(path: Path, manifest: Manifest, findings: Findings) -> TranscriptFile:
    """Read a transcript and check form, chain, signatures and manifest hash of every line."""
    data = path.read_bytes()
    texts = data.split(b"\n")
    raws = [_read_line(text) for text in texts[:-1]]
    first = raws[0] if raws else None
    party = first.get("party") if first is not None else None
    known = isinstance(party, int) and 0 <= party < manifest.n_parties
    is_driver = first is not None and first.get("event") == "drive"
    file = TranscriptFile(path, data, path.name, None)
    if known and isinstance(party, int):
        file.party, file.source = party, f"party {party}"
        verifier = Verifier(manifest.parties[party].certificate)
    elif is_driver:
        file.source = "estimator"
        verifier = Verifier(manifest.estimator.certificate)
    else:
        findings.error(file.source, "does not begin as a transcript of this job's roles", line=1)
        return file
    if texts[-1]:
        findings.error(file.source, "the last line has no end", line=len(texts))
    _read_lines(file, list(zip(texts[:-1], raws, strict=True)), verifier, findings)
    _check_first(file, manifest, findings)
    return file


def _read_line(text: bytes) -> dict[str, Any] | None:
    try:
        raw = read_json(text)
        canonical(raw)  # what has no canonical form can be neither hashed nor compared
    except ValueError:
        return None
    return raw if isinstance(raw, dict) else None


def _read_lines(
    file: TranscriptFile,
    pairs: Sequence[tuple[bytes, dict[str, Any] | None]],
    verifier: Verifier,
    findings: Findings,
) -> None:
    head: str | None = None
    for number, (text, raw) in enumerate(pairs, start=1):
        if raw is None or text != canonical(raw):
            findings.error(file.source, "is not written as a line of a transcript", line=number)
        if raw is not None:
            _check_signature(file, number, raw, verifier, findings)
            previous, entry = _entry(file, number, raw, findings)
            if head is None and isinstance(entry, BeginLine | DriveLine):
                head = first_head(entry)
            if previous != head:
                text_ = "does not follow from the line before"
                findings.error(file.source, text_, line=number, field="previous")
            if entry is not None:
                file.lines.append(Line(number, str(previous), entry))
        head = head_after(text)


def _check_signature(
    file: TranscriptFile, number: int, raw: dict[str, Any], verifier: Verifier, findings: Findings
) -> None:
    unsigned = {key: value for key, value in raw.items() if key != SIGNATURE}
    try:
        verifier.check(PURPOSE, canonical(unsigned), str(raw.get(SIGNATURE)))
    except (IdentityError, ValueError) as error:
        findings.error(file.source, str(error), line=number, field=SIGNATURE)


def _entry(
    file: TranscriptFile, number: int, raw: dict[str, Any], findings: Findings
) -> tuple[object, AnyEntry | None]:
    """Return the hash of the line before and what the line says, None if that has a wrong form."""
    body = {key: value for key, value in raw.items() if key not in (SIGNATURE, "previous")}
    try:
        return raw.get("previous"), ENTRIES.validate_python(body)
    except ValidationError as error:
        findings.error(file.source, describe("the entry", error), line=number)
        return raw.get("previous"), None


def _check_first(file: TranscriptFile, manifest: Manifest, findings: Findings) -> None:
    first = file.lines[0].entry if file.lines else None
    if not isinstance(first, BeginLine | DriveLine):
        findings.error(file.source, "does not begin with the line that opens a transcript", line=1)
        return
    if first.manifest != manifest.digest:
        text = f"belongs to manifest {first.manifest[:12]}, not to {manifest.digest[:12]}"
        findings.error(file.source, text, line=1, field="manifest")
    name = manifest.estimator.name if file.party is None else manifest.parties[file.party].name
    if first.name != name:
        findings.error(file.source, f"the manifest names {name} here", line=1, field="name")

"""A consortium on loopback: every role its own process and folder, started and killed by tests."""

import contextlib
import datetime as dt
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from aim_core.studies.clinic import write_clinic
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import load_schema
from mpc.noise.kinds import NoiseKind
from parties.agreement.approval import approve
from parties.agreement.choices import Choices
from parties.agreement.draft import Members, build_manifest, derive, draft_inputs
from parties.agreement.manifest import Member, PartyEntry, load_manifest, save_manifest
from parties.agreement.terms import read_terms
from parties.agreement.values import EngineKind
from parties.auditor.audit import audit
from parties.identity.certificates import Identity, make_identity
from parties.local.ports import free_ports
from parties.wire.run_facts import JobFacts

DISTAIM = [sys.executable, "-m", "parties"]
PARTIES = range(3)


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Consortium:
    """Three parties, two holders, an estimator. Leaving the context kills what still runs.

    With `relayed`, party p listens for its peers at `mpc_inner[p]`, and the test has to forward
    `mpc[p]`, which the manifest tells the others.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rounds: int = 4,
        workload: str = "2way",
        table: Path | None = None,
        schema: Schema | None = None,
        n_max: int = 8000,
        n_holders: int = 2,
        relayed: bool = False,
        engine: EngineKind = EngineKind.REPLICATED,
        **party_settings: object,
    ) -> None:
        self.folder = folder
        if table is None or schema is None:
            table, schema_path = write_clinic(folder / "demo")
            schema = load_schema(schema_path)
        self.table, self.settings = table, party_settings
        names = [f"party-{p}" for p in PARTIES] + [f"holder-{h}" for h in range(n_holders)]
        self.identities = {n: make_identity(n, folder / n) for n in [*names, "estimator"]}
        self.manifest = folder / "manifest.json"
        ports = free_ports(12 if relayed else 9)
        self.https, self.mpc, self.status = ports[:3], ports[3:6], ports[6:9]
        self.mpc_inner = ports[9:] if relayed else self.mpc
        self._engine = engine
        self._draft(schema, workload, rounds, n_max, n_holders)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def _draft(
        self, schema: Schema, workload: str, rounds: int, n_max: int, n_holders: int
    ) -> None:
        choices = Choices(
            workload=workload,
            epsilon="1",
            delta="1e-9",
            threshold=1,
            rounds=rounds,
            max_cells=None,
            max_model_mb="80",
            noise=NoiseKind.JOINT,
            engine=self._engine,
        )
        members = Members(
            parties=[
                PartyEntry(
                    name=f"party-{p}",
                    certificate=self.identities[f"party-{p}"].certificate,
                    url=f"https://127.0.0.1:{self.https[p]}",
                    host="127.0.0.1",
                    port=self.mpc[p],
                )
                for p in PARTIES
            ],
            holders=[self._member(f"holder-{h}") for h in range(n_holders)],
            estimator=self._member("estimator"),
            min_holders=n_holders,
        )
        terms = read_terms(choices, len(PARTIES), seed=3)
        derived = derive(terms, draft_inputs(schema, workload, None), n_max)
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
        manifest = build_manifest(derived, members, expires)
        save_manifest(manifest, self.manifest)
        for p in PARTIES:
            approve(manifest, self.manifest, self.identities[f"party-{p}"])

    def _member(self, name: str) -> Member:
        return Member(name=name, certificate=self.identities[name].certificate)

    def __enter__(self) -> "Consortium":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def start(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*DISTAIM, *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )
        self.processes[name] = process
        return process

    def kill(self, name: str) -> None:
        os.kill(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()

    def party_config(self, pid: int) -> Path:
        """Write a party's settings and return their file."""
        name = f"party-{pid}"
        identity = self.identities[name]
        config = {
            **_files(identity),
            "name": name,
            "manifest": str(self.manifest),
            "pid": pid,
            "https_port": self.https[pid],
            "mpc_port": self.mpc_inner[pid],
            "status_port": self.status[pid],
            "state": str(self.folder / name / "state"),
            "transcript": str(self.transcript(pid)),
            "linger_seconds": 2.0,
            **self.settings,
        }
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(config))
        return path

    def start_party(
        self, pid: int, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        path = self.party_config(pid)
        return self.start(f"party-{pid}", ["party", "--config", str(path)], environment)

    def start_parties(self) -> None:
        for pid in PARTIES:
            self.start_party(pid)

    def start_holder(self, number: int, table: Path | None = None) -> subprocess.Popen[bytes]:
        name = f"holder-{number}"
        files = _files(self.identities[name])
        where = self.folder / name
        return self.start(
            name,
            [
                "submit",
                str(table or self.table),
                "--manifest",
                str(self.manifest),
                "--cert",
                files["certificate"],
                "--key",
                files["key"],
                "--receipts",
                str(where / "receipts"),
                "--outbox",
                str(where / "outbox"),
                "--wait",
                "60",
            ],
        )

    def start_job(self) -> subprocess.Popen[bytes]:
        files = _files(self.identities["estimator"])
        return self.start(
            "estimator",
            [
                "job",
                str(self.manifest),
                "--out",
                str(self.out),
                "--json",
                "--cert",
                files["certificate"],
                "--key",
                files["key"],
            ],
        )

    def start_estimator_and_holders(self) -> None:
        self.start_job()
        for number in range(2):
            self.start_holder(number)

    def start_all(self) -> None:
        self.start_parties()
        self.start_estimator_and_holders()

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def transcript(self, pid: int) -> Path:
        return self.folder / f"party-{pid}" / f"party-{pid}.jsonl"

    def lines(self, pid: int) -> list[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            whole = self.transcript(pid).read_bytes().rpartition(b"\n")[0]
            return [json.loads(line) for line in whole.splitlines()]
        return []

    def events(self, pid: int) -> list[str]:
        return [line["event"] for line in self.lines(pid)]

    def wait_for_event(self, pid: int, event: str, count: int = 1, seconds: float = 60) -> None:
        def reached() -> bool:
            return self.events(pid).count(event) >= count

        wait_until(reached, seconds, f"party {pid} never wrote {event}\n{self._logs()}")

    def wait_until_up(self, pid: int) -> None:
        """Wait until a party listens and misses its peers."""
        name = f"party-{pid}"
        wait_until(lambda: "waiting for" in self.log(name), 60, f"{name} is not up")

    def wait_for(self, name: str, seconds: float = 90) -> None:
        """Wait until a process has ended well."""
        try:
            code = self.processes[name].wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        assert code == 0, f"{name} ended with {code}\n{self._logs()}"

    def complete(self, seconds: float = 90) -> None:
        """Wait until the job and all parties have ended well."""
        for name in ("estimator", *(f"party-{pid}" for pid in PARTIES)):
            self.wait_for(name, seconds)

    def _logs(self) -> str:
        return "\n".join(f"--- {p.name}\n{p.read_text()[-3000:]}" for p in self._log_files())

    def _log_files(self) -> Iterator[Path]:
        return self.folder.glob("*.log")


def _files(identity: Identity) -> dict[str, str]:
    return {"certificate": str(identity.certificate_path), "key": str(identity.key_path)}


def assert_complete(consortium: Consortium, *, lost: int | None = None) -> None:
    """Check results, agreement and the budget of a job that came to its end."""
    c = consortium
    manifest = load_manifest(c.manifest)
    results = JobFacts.model_validate_json((c.out / "results.json").read_bytes())
    rows = (c.out / "synthetic.csv").read_text().splitlines()
    assert len(rows) > 1000
    folders = [c.folder / f"party-{p}" for p in PARTIES]
    outcome = audit([*folders, c.out], c.manifest)
    assert outcome.verdict == "ok", outcome.findings
    assert str(outcome.rho_spent) == results.rho_spent_exact
    assert outcome.rho_spent <= Fraction(manifest.mechanism.rho)
    ledgers = [_ledger(folder) for folder in folders]
    assert ledgers[0] == ledgers[1] == ledgers[2]
    assert sum(Fraction(rho) for _, rho, _ in ledgers[0]) == outcome.rho_spent
    if lost is not None:
        told = {r for p in PARTIES for line in c.lines(p) for r in line.get("lost", ())}
        assert len(told) == lost


def _ledger(folder: Path) -> list[tuple[str, str, str]]:
    connection = sqlite3.connect(folder / "state" / "job.sqlite")
    try:
        return connection.execute(
            "SELECT request, rho, head FROM ledger ORDER BY number"
        ).fetchall()
    finally:
        connection.close()

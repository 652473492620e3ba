"""One job on this machine: compute parties, holders and estimator as processes on loopback."""

import datetime as dt
import queue
from pathlib import Path

import numpy as np

from aim_core.models.model_file import load_model
from parties.agreement.approval import approve
from parties.agreement.draft import Members, build_manifest
from parties.agreement.manifest import Manifest, Member, PartyEntry, save_manifest
from parties.agreement.values import Frozen
from parties.errors import JobFailed
from parties.estimator.job import CODES_FILE, MODEL_FILE, RESULTS_FILE
from parties.estimator.run import Outcome
from parties.files import write_whole
from parties.identity.certificates import Identity, make_identity
from parties.local.ports import LOOPBACK, free_ports
from parties.local.prepare import Prepared
from parties.local.supervisor import Child, Supervisor
from parties.setup.config import EstimatorConfig, HolderMember, HoldersConfig, PartyConfig
from parties.wire.events import Emit, Event, UploadsSent
from parties.wire.run_facts import JobFacts

_LIFETIME = dt.timedelta(days=30)
"""How long a run's manifest is good for: far longer than any run."""

_READ_SECONDS = 10.0
"""How long it may take to read what a process has said before its end."""


class LocalNetwork:
    """Compute parties, holders and estimator as processes on loopback, for one job."""

    def __init__(self, prepared: Prepared, work: Path, emit: Emit) -> None:
        self._prepared, self._work, self._emit = prepared, work, emit
        self._options = prepared.options
        n_parties = self._options.parties
        ports = free_ports(2 * n_parties)
        self._https_ports, self._mpc_ports = ports[:n_parties], ports[n_parties:]
        work.mkdir()
        keys = work / "keys"
        self._parties = [make_identity(f"party-{i}", keys) for i in range(n_parties)]
        self._holders = [make_identity(f"holder-{i}", keys) for i in range(self._options.holders)]
        self._estimator = make_identity("estimator", keys)
        # kept with the results: transcripts are bound to its digest
        self._manifest_path = self._options.out / "manifest.json"
        manifest = self._manifest()
        save_manifest(manifest, self._manifest_path)
        for party in self._parties:
            approve(manifest, self._manifest_path, party)

    def run(self) -> Outcome:
        """Start everything, wait for the end, and return what the estimator left."""
        with Supervisor(self._work) as supervisor:
            for pid in range(self._options.parties):
                name = f"party-{pid}"
                self._start(supervisor, name, "party", self._party_config(pid, name), pid)
            holders = self._start(supervisor, "holders", "submit", self._holders_config())
            estimator = self._start(supervisor, "estimator", "job", self._estimator_config())
            supervisor.watch(estimator, self._emit)
            supervisor.finish()
            results = self._work / "results"
            facts = JobFacts.model_validate_json((results / RESULTS_FILE).read_bytes())
            codes = np.load(results / CODES_FILE, allow_pickle=False)
            model = load_model(results / MODEL_FILE).model
            return Outcome(codes, model, facts, facts.parties, _upload_bytes(holders))

    def _manifest(self) -> Manifest:
        members = Members(
            parties=[self._party_entry(pid) for pid in range(self._options.parties)],
            holders=[_member(identity) for identity in self._holders],
            estimator=_member(self._estimator),
            min_holders=self._options.holders,
        )
        expires = dt.datetime.now(dt.UTC) + _LIFETIME
        return build_manifest(self._prepared.derived, members, expires)

    def _party_entry(self, pid: int) -> PartyEntry:
        return PartyEntry(
            name=self._parties[pid].name,
            certificate=self._parties[pid].certificate,
            url=f"https://{LOOPBACK}:{self._https_ports[pid]}",
            host=LOOPBACK,
            port=self._mpc_ports[pid],
        )

    def _party_config(self, pid: int, name: str) -> PartyConfig:
        identity = self._parties[pid]
        return PartyConfig(
            name=identity.name,
            certificate=identity.certificate_path,
            key=identity.key_path,
            manifest=self._manifest_path,
            pid=pid,
            https_port=self._https_ports[pid],
            mpc_port=self._mpc_ports[pid],
            state=self._work / name,
            transcript=self._transcript(name),
            # nobody restarts a party of a run: one that is lost ends it
            reconnect_seconds=0.0,
            linger_seconds=0.0,
        )

    def _holders_config(self) -> HoldersConfig:
        return HoldersConfig(
            manifest=self._manifest_path,
            table=self._prepared.table.path.resolve(),
            format=self._prepared.table.format,
            outbox=self._work / "outbox",
            members=[
                HolderMember(name=own.name, certificate=own.certificate_path, key=own.key_path)
                for own in self._holders
            ],
            split=self._options.split,
            target=self._options.target,
            seed=self._prepared.seed,
        )

    def _estimator_config(self) -> EstimatorConfig:
        return EstimatorConfig(
            name=self._estimator.name,
            certificate=self._estimator.certificate_path,
            key=self._estimator.key_path,
            manifest=self._manifest_path,
            estimator=self._options.estimator,
            rows=self._options.rows,
            sample_seed=self._prepared.seed,
            out=self._work / "results",
            transcript=self._transcript("estimator"),
            outage_seconds=0.0,
        )

    def _transcript(self, name: str) -> Path:
        return self._options.out / "transcript" / f"{name}.jsonl"

    def _start(
        self,
        supervisor: Supervisor,
        name: str,
        command: str,
        config: Frozen,
        party: int | None = None,
    ) -> Child:
        path = self._work / f"{name}.json"
        write_whole(path, config.model_dump_json())
        error_path = self._work / f"{name}.error.json"
        arguments = [command, "--config", str(path), "--error-file", str(error_path)]
        return supervisor.start(name, arguments, error_path, party)


def _member(identity: Identity) -> Member:
    return Member(name=identity.name, certificate=identity.certificate)


def _upload_bytes(holders: Child) -> dict[str, int]:
    """Return what each holder has sent, as their process, which has ended, says."""
    try:
        event: Event | None = holders.events.get(timeout=_READ_SECONDS)
    except queue.Empty:
        event = None
    if not isinstance(event, UploadsSent):
        raise JobFailed("the holders have ended without saying what they sent")
    return event.upload_bytes

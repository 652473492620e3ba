"""`distaim run`: the whole system on one machine, each role in its own process."""

import datetime as dt
import importlib.metadata
import json
import platform
import shutil
import signal
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from aim_core.evaluation import WorkloadErrors, workload_errors
from aim_core.model_file import load_model, save_model
from aim_core.plaintext import GrowingOracle, PlaintextOracle
from aim_core.requests import Oracle
from aim_core.splits import assign
from mpc.job import FRACTION_BITS
from parties.approval import approve
from parties.certificates import Identity, make_identity
from parties.errors import JobFailed
from parties.estimator import MODEL_FILE
from parties.failures import to_body
from parties.holder import read_codes
from parties.manifest import Manifest, Member, PartyEntry, save_manifest
from parties.manifest_draft import Members, build_manifest
from parties.mechanism import Emit, Outcome, run_mechanism
from parties.ports import free_ports
from parties.processes import Child, Supervisor
from parties.progress import RunProgress
from parties.report import write_report
from parties.run_options import (
    Prepared,
    RunOptions,
    check_options,
    plaintext_noise,
    prepare,
)

NOT_PRIVATE = ("workload_error_l1", "workload_error_tv")
"""Keys of run.json that are computed from the real table: for its owner's eyes only."""

_LIFETIME = dt.timedelta(days=30)
"""How long a run's manifest is good for: far longer than any run."""

_PACKAGES = ("distaim", "numpy", "mpyc", "mbi", "jax", "pandas", "uvicorn", "httpx", "cryptography")


def run(options: RunOptions) -> dict[str, Any]:
    """Run everything and return what `run.json` holds.

    Raises ConfigError and AimError for input that cannot be used, MpcError and PartyError for a
    run that failed. What a failed run has released stays in the out folder, with `error.json`.
    """
    check_options(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.mkdir()
    try:
        prepared = prepare(options)
    except BaseException:
        shutil.rmtree(options.out)
        raise
    started = time.perf_counter()
    with RunProgress() as progress, terminate_as_interrupt():
        try:
            outcome = _outcome(prepared, progress)
        except Exception as error:
            _keep_partial_results(options.out, progress, error)
            raise
        except KeyboardInterrupt:
            stopped = JobFailed("the run was interrupted; start it again with a new --out")
            _keep_partial_results(options.out, progress, stopped)
            raise
        progress.show({"event": "report", "text": "comparing and writing the results"})
        return _write_results(prepared, outcome, started)


def _outcome(prepared: Prepared, progress: RunProgress) -> Outcome:
    if prepared.options.oracle == "plaintext":
        return _run_in_the_clear(prepared, progress)
    work = prepared.options.out / "work"
    try:
        return LocalNetwork(prepared, work, progress.show).run()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_in_the_clear(prepared: Prepared, progress: RunProgress) -> Outcome:
    options = prepared.options
    return run_mechanism(
        prepared.settings,
        prepared.inputs.workload,
        prepared.noise,
        estimator_name=options.estimator,
        oracle=_plaintext_oracle(prepared),
        n_rows=options.rows,
        sample_seed=prepared.seed,
        emit=progress.show,
    )


def _plaintext_oracle(prepared: Prepared) -> Oracle:
    inputs, options = prepared.inputs, prepared.options
    noise_source = plaintext_noise(options)
    participation = prepared.settings.participation
    if participation.rate == 1:
        return PlaintextOracle(inputs.domain, prepared.real, noise_source, FRACTION_BITS)
    codes = read_codes(prepared.table, inputs)
    owners = assign(
        codes, inputs.domain, options.holders, options.split, prepared.seed, options.target
    )
    return GrowingOracle(
        inputs.workload, np.concatenate(codes), owners, participation, noise_source, FRACTION_BITS
    )


@dataclass(frozen=True)
class _Ports:
    https: list[int]
    mpc: list[int]


class LocalNetwork:
    """Compute parties, holders and estimator as processes on loopback, for one job."""

    def __init__(self, prepared: Prepared, work: Path, emit: Emit) -> None:
        self._prepared, self._work, self._emit = prepared, work, emit
        self._options = prepared.options
        n_parties = self._options.parties
        ports = free_ports(2 * n_parties)
        self._ports = _Ports(ports[:n_parties], ports[n_parties:])
        work.mkdir()
        keys = work / "keys"
        self._parties = [make_identity(f"party-{i}", keys) for i in range(self._options.parties)]
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
                self._start_party(supervisor, pid)
            holders = self._start(supervisor, "holders", "submit", self._holders_config())
            estimator = self._start(supervisor, "estimator", "job", self._estimator_config())
            supervisor.watch(estimator, self._emit)
            supervisor.finish()
            results = self._work / "results"
            facts = json.loads((results / "results.json").read_text("utf-8"))
            facts["upload_bytes"] = holders.events.get(timeout=1)["upload_bytes"]
            codes = np.load(results / "codes.npy", allow_pickle=False)
            return Outcome(codes, load_model(results / MODEL_FILE), facts)

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
            url=f"https://127.0.0.1:{self._ports.https[pid]}",
            host="127.0.0.1",
            port=self._ports.mpc[pid],
        )

    def _start_party(self, supervisor: Supervisor, pid: int) -> None:
        name = f"party-{pid}"
        config = {
            **_site(self._parties[pid]),
            "manifest": str(self._manifest_path),
            "pid": pid,
            "https_port": self._ports.https[pid],
            "mpc_port": self._ports.mpc[pid],
            "state": str(self._work / name),
            "transcript": str(self._transcript(name)),
            # nobody restarts a party of a run: one that is lost ends it
            "reconnect_seconds": 0.0,
            "linger_seconds": 0.0,
        }
        self._start(supervisor, name, "party", config, pid)

    def _transcript(self, name: str) -> Path:
        return self._options.out / "transcript" / f"{name}.jsonl"

    def _start(
        self,
        supervisor: Supervisor,
        name: str,
        command: str,
        config: dict[str, Any],
        party: int | None = None,
    ) -> Child:
        path = self._work / f"{name}.json"
        path.write_text(json.dumps(config), "utf-8")
        error_path = self._work / f"{name}.error.json"
        arguments = [command, "--config", str(path), "--error-file", str(error_path)]
        return supervisor.start(name, arguments, error_path, party)

    def _holders_config(self) -> dict[str, Any]:
        return {
            "manifest": str(self._manifest_path),
            "table": str(self._prepared.table.resolve()),
            "outbox": str(self._work / "outbox"),
            "members": [_site(identity) for identity in self._holders],
            "split": self._options.split,
            "target": self._options.target,
            "seed": self._prepared.seed,
        }

    def _estimator_config(self) -> dict[str, Any]:
        return {
            **_site(self._estimator),
            "manifest": str(self._manifest_path),
            "estimator": self._options.estimator,
            "rows": self._options.rows,
            "sample_seed": self._prepared.seed,
            "out": str(self._work / "results"),
            "transcript": str(self._transcript("estimator")),
            "outage_seconds": 0.0,
        }


def _member(identity: Identity) -> Member:
    return Member(name=identity.name, certificate=identity.certificate)


def _site(identity: Identity) -> dict[str, str]:
    return {
        "name": identity.name,
        "certificate": str(identity.certificate_path),
        "key": str(identity.key_path),
    }


class terminate_as_interrupt:  # noqa: N801 - used like a function
    """Treat SIGTERM as Ctrl-C, so that no child process is left behind."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._interrupt)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt


def _keep_partial_results(out: Path, progress: RunProgress, error: Exception) -> None:
    """Write what a failed run has released so far, and why it failed."""
    if isinstance(error, JobFailed):
        error.round = progress.round
    body = to_body(error, progress.round)
    facts = {**body.model_dump(), "complete": False, "events": progress.events}
    (out / "error.json").write_text(json.dumps(facts, indent=1), "utf-8")


def _write_results(prepared: Prepared, outcome: Outcome, started: float) -> dict[str, Any]:
    out, schema = prepared.options.out, prepared.inputs.schema
    table = schema.decode(outcome.codes, np.random.default_rng([prepared.seed, 1]))
    table.to_csv(out / "synthetic.csv", index=False)
    save_model(out / MODEL_FILE, outcome.model)
    errors = workload_errors(prepared.real, outcome.codes, prepared.inputs.workload)
    seconds = {
        step: round(outcome.facts["seconds"].get(step, 0.0), 3)
        for step in ("collect", "score", "select", "measure", "fit", "sample")
    }
    seconds["total"] = round(time.perf_counter() - started, 3)
    summary = _summary(prepared, outcome, errors, seconds)
    (out / "run.json").write_text(json.dumps(summary, indent=1), "utf-8")
    write_report(out / "report.html", prepared, outcome, errors, summary)
    return summary


def _summary(
    prepared: Prepared, outcome: Outcome, errors: WorkloadErrors, seconds: dict[str, float]
) -> dict[str, Any]:
    options, facts = prepared.options, outcome.facts
    rounds = facts["rounds"]
    parties = facts.get("parties", [])
    return {
        "epsilon": float(Fraction(options.epsilon)),
        "delta": float(Fraction(options.delta)),
        "rho_budget": float(prepared.settings.rho),
        "rho_spent": facts["rho_spent"],
        "delta_reserved": float(prepared.budget.delta_reserved),
        "exact": {
            "epsilon": options.epsilon,
            "delta": options.delta,
            "rho_budget": str(prepared.settings.rho),
            "rho_spent": facts["rho_spent_exact"],
            "delta_reserved": str(prepared.budget.delta_reserved),
        },
        "rounds": len(rounds),
        "selected": [entry["clique"] for entry in rounds],
        "sigmas": [entry["sigma"] for entry in rounds],
        "true_sigmas": [entry["true_sigma"] for entry in rounds],
        "workload": options.workload,
        "workload_error_l1": errors.mean_l1,
        "workload_error_tv": errors.mean_tv,
        "not_private": list(NOT_PRIVATE),
        "oracle": options.oracle,
        "estimator": options.estimator,
        "engine": options.engine,
        "noise_variance_factor": float(prepared.noise.variance_factor),
        "parties": options.parties,
        "threshold": options.threshold,
        "holders": options.holders,
        "participation": options.participation,
        "rows": len(outcome.codes),
        "n_max": prepared.settings.n_max,
        "seed": prepared.seed,
        "cells": sum(prepared.inputs.sizes),
        "candidates": len(prepared.inputs.candidates),
        "seconds": seconds,
        "bytes_sent": [_party_total(report, "bytes_sent") for report in parties],
        "comm_rounds": _comm_rounds(parties),
        "upload_bytes": facts.get("upload_bytes", {}),
        "peak_rss_mb": [round(report["peak_rss_mb"], 1) for report in parties],
        "versions": _versions(),
    }


def _party_total(report: dict[str, Any], key: str) -> int:
    return sum(step[key] for step in report["steps"].values())


def _comm_rounds(parties: list[dict[str, Any]]) -> dict[str, int]:
    """Return the rounds per step; all parties count the same."""
    return {step: cost["rounds"] for step, cost in parties[0]["steps"].items()} if parties else {}


def _versions() -> dict[str, str]:
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}
    return {"python": platform.python_version(), **versions}

"""`distaim doctor`: what would keep this site from taking part, each finding with cause and fix.

Nothing is changed: no file stays, no request that changes a job is made. A compute party's doctor
works whether or not the party runs, and whether or not the peers do.
"""

import datetime as dt
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from aim_core.errors import AimError
from mpc.errors import MpcError
from parties.agreement.approval import (
    approval_states,
    approvals_folder,
    check_in_force,
    expiry_warning,
    sign_as,
)
from parties.agreement.derived import manifest_budget, upload_format
from parties.agreement.fields import differing_fields, field_hashes, name_fields
from parties.agreement.manifest import Manifest, load_manifest
from parties.agreement.public_inputs import public_inputs
from parties.agreement.roles import own_role
from parties.agreement.values import program_version
from parties.errors import ConfigError, IdentityError, NotApproved, PartyError
from parties.identity.certificates import Identity, fingerprint, validity
from parties.setup.config import PartyConfig, load_party_config
from parties.setup.findings import Finding, Level
from parties.setup.network import PartyReport, ask, bind_problem, host_problem, port_problem

CLOCK_WARNING = dt.timedelta(seconds=60)
CLOCK_ERROR = dt.timedelta(minutes=30)

_SPARE_BYTES = 200_000_000
"""Room for ledger, transcript, bits of the cells and logs beside the uploads."""


@dataclass(frozen=True)
class Site:
    """Who asks: a compute party with its config, or a holder or the estimator without one."""

    manifest: Path
    identity: Identity
    config: PartyConfig | None = None


def party_site(path: Path) -> Site:
    """Return the site of a compute party's config; ConfigError names what is wrong in it."""
    config = load_party_config(path)
    return Site(config.manifest, config.identity, config)


def utc_now() -> dt.datetime:
    """Return this machine's clock."""
    return dt.datetime.now(dt.UTC)


def examine(site: Site, now: Callable[[], dt.datetime] = utc_now) -> list[Finding]:
    """Check everything that can be checked from this site, and return the findings in order."""
    findings = list(_check_keys(site, now()))
    usable = all(finding.check != "identity" or finding.level == "ok" for finding in findings)
    try:
        manifest = load_manifest(site.manifest)
        inputs = public_inputs(manifest)
        manifest_budget(manifest, inputs)
        body_size = upload_format(manifest, inputs).body_size
    except (PartyError, AimError, MpcError) as error:
        cause = "the file is missing, was edited, or was made by another version"
        fix = "take the manifest that all parties approved"
        return [*findings, Finding("error", "manifest", str(error), cause, fix)]
    findings.append(Finding("ok", "manifest", f"{site.manifest} has hash {manifest.digest}"))
    findings += _check_agreement(site, manifest, now())
    if site.config is not None:
        n_bytes = body_size(min(site.config.pid, manifest.n_parties - 1))
        findings += _check_place(site.config, manifest)
        findings += _check_folders(site.config, n_bytes * len(manifest.holders))
    own = site.config.pid if site.config is not None else None
    pids = [pid for pid in range(manifest.n_parties) if pid != own]

    def check(pid: int) -> list[Finding]:
        return list(_check_party(site, manifest, pid, now, usable))

    with ThreadPoolExecutor(len(pids)) as pool:
        return findings + [finding for found in pool.map(check, pids) for finding in found]


def _check_keys(site: Site, now: dt.datetime) -> Iterator[Finding]:
    identity = site.identity
    try:
        sign_as(identity, "doctor", b"")
        validity(identity.certificate)
    except PartyError as error:
        cause = "the key and the certificate were not made together, or a path is wrong"
        fix = "give the two files that `distaim keys` made at this site"
        yield Finding("error", "identity", str(error), cause, fix)
        return
    yield Finding("ok", "identity", f"{identity.key_path} fits {identity.certificate_path}")
    mode = stat.S_IMODE(identity.key_path.stat().st_mode)
    if mode & 0o077:
        what = f"{identity.key_path} can be read by others on this machine (mode {mode:o})"
        fix = f"chmod 600 {identity.key_path}"
        yield Finding("warning", "key file", what, "the file's mode was changed", fix)
    yield _certificate_finding("certificate", "this site", identity.certificate, now)


def _certificate_finding(check: str, name: str, certificate: str, now: dt.datetime) -> Finding:
    begin, end = validity(certificate)
    text = expiry_warning(name, certificate, now)
    if not text:
        return Finding("ok", check, f"the certificate of {name} is good until {end:%Y-%m-%d}")
    if now < begin:
        cause = "this machine's clock is behind, or the clock was ahead where the key was made"
        return Finding("error", check, text, cause, "set the clock, best with NTP")
    fix = "make a new key with `distaim keys`, and agree on a new manifest with its certificate"
    level: Level = "error" if end <= now else "warning"
    return Finding(level, check, text, "certificates are made for some years only", fix)


def _check_agreement(site: Site, manifest: Manifest, now: dt.datetime) -> Iterator[Finding]:
    """Check the manifest's expiry, signatures and certificates, and this site's place in it."""
    try:
        check_in_force(manifest)
    except NotApproved as error:
        fix = "agree on a new manifest with `distaim init`"
        yield Finding("error", "expiry", str(error), "the agreed time is over", fix)
    for state in approval_states(manifest, site.manifest):
        if state.state == "signed":
            yield Finding("ok", "approval", f"{state.party} has signed the manifest")
            continue
        cause = {
            "missing": "the party has not approved it, or its file was not copied here",
            "another manifest": "the manifest was changed after the party approved it",
            "invalid": "the file was damaged or changed, or made with another key",
        }[state.state]
        fix = (
            f"have {state.party} run `distaim approve` on this manifest, and put its file into "
            f"{approvals_folder(site.manifest)}"
        )
        yield Finding("error", "approval", state.text, cause, fix)
    try:
        role = own_role(manifest, site.identity.certificate)
        yield Finding("ok", "role", f"this site is the {role.kind} {role.name}")
    except (IdentityError, ConfigError) as error:
        cause = "the manifest was drafted with another certificate of this site"
        fix = "use the certificate that was sent in, or have the manifest drafted again"
        yield Finding("error", "role", str(error), cause, fix)
    for member in [*manifest.parties, *manifest.holders, manifest.estimator]:
        found = _certificate_finding("certificate", member.name, member.certificate, now)
        if found.level != "ok":
            yield found


def _check_place(config: PartyConfig, manifest: Manifest) -> Iterator[Finding]:
    """Check that the config is for this party, and that its addresses can be listened on."""
    if config.pid >= manifest.n_parties:
        what = f"pid {config.pid} is not among the {manifest.n_parties} parties"
        fix = "set pid to this site's place in the manifest's list of parties, from 0"
        yield Finding("error", "place", what, "the config is for another manifest", fix)
        return
    entry = manifest.parties[config.pid]
    if fingerprint(entry.certificate) != _own_pin(config.identity):
        what = f"the manifest's party {config.pid}, {entry.name}, has another certificate"
        fix = "set pid to this site's place in the manifest's list of parties, from 0"
        yield Finding("error", "place", what, "pid, or the certificate, is another party's", fix)
    for check, port, told in (
        ("https port", config.https_port, entry.https_port),
        ("mpc port", config.mpc_port, entry.port),
    ):
        problem = bind_problem(check, config.host, port, entry, config.identity)
        yield problem or Finding("ok", check, f"{config.host}:{port} can be listened on")
        if port != told:
            what = f"this site listens on {port}, the manifest tells the others {told}"
            fix = f"forward {told} to {port} on this site's router, or change one of the two"
            yield Finding("warning", check, what, "config and manifest differ", fix)


def _own_pin(identity: Identity) -> str:
    """Return the own certificate's fingerprint, the empty text if it cannot be read."""
    try:
        return fingerprint(identity.certificate)
    except ConfigError:
        return ""


def _check_folders(config: PartyConfig, upload_bytes: int) -> Iterator[Finding]:
    for check, folder in (("state", config.state), ("transcript", config.transcript.parent)):
        problem = _write_problem(folder)
        if problem:
            fix = f"make {folder} a folder that this user can write, or name another in the config"
            cause = "a file is in the way, or the rights are missing"
            yield Finding("error", check, f"{folder}: {problem}", cause, fix)
            continue
        yield Finding("ok", check, f"{folder} can be written")
        free = shutil.disk_usage(_existing(folder)).free
        need = _SPARE_BYTES + (upload_bytes if check == "state" else 0)
        what = f"{free / 1e9:.1f} GB are free at {folder}, {need / 1e9:.1f} GB may be needed"
        if free < need:
            cause = "all holders' uploads, the ledger and the transcript must have room"
            yield Finding("error", "disk", what, cause, "free some space, or use another disk")
        else:
            yield Finding("ok", "disk", what)


def _existing(folder: Path) -> Path:
    """Return the folder itself, or the nearest one above it that exists."""
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.exists())


def _write_problem(folder: Path) -> str:
    nearest = _existing(folder)
    if not nearest.is_dir():
        return f"{nearest} is a file"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest} cannot be written"
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return str(error)
    return ""


def _check_party(
    site: Site, manifest: Manifest, pid: int, now: Callable[[], dt.datetime], usable: bool
) -> Iterator[Finding]:
    """Check one compute party from here: name, ports, identity, version, clock, manifest.

    Without a `usable` key of this site, no TLS is tried.
    """
    entry = manifest.parties[pid]
    check = f"party {pid} ({entry.name})"
    problem = host_problem(check, entry.https_host)
    if problem is None and site.config is not None:
        problem = host_problem(check, entry.host)
    if problem is None:
        problem = port_problem(check, entry.https_host, entry.https_port)
    if problem is not None:
        yield problem
        return
    if not usable:
        return
    report = ask(check, manifest, pid, site.identity, now)
    if isinstance(report, Finding):
        yield report
        return
    yield Finding("ok", check, f"answers at {entry.url} with the certificate of the manifest")
    if site.config is not None and report.state == "connecting":
        closed = port_problem(check, entry.host, entry.port)
        good = Finding("ok", check, f"its port for peers, {entry.port}, is open")
        yield good if closed is None else replace(closed, level="error")
    yield from _compare(check, manifest, report)


def _compare(check: str, manifest: Manifest, report: PartyReport) -> Iterator[Finding]:
    skew = abs(report.clock_ahead)
    if skew > CLOCK_WARNING:
        ahead = "behind" if report.clock_ahead > dt.timedelta(0) else "ahead of"
        what = f"this machine's clock is {skew.total_seconds():.0f} s {ahead} that of the party"
        level: Level = "error" if skew > CLOCK_ERROR else "warning"
        fix = "set both clocks, best with NTP: certificates and expiry depend on them"
        yield Finding(level, f"{check} clock", what, "one of the two clocks is wrong", fix)
    else:
        yield Finding("ok", f"{check} clock", "the clocks agree within a minute")
    if report.version != program_version():
        what = f"it runs version {report.version}, this site {program_version()}"
        fix = "install the same version at all sites"
        yield Finding("error", f"{check} version", what, "one site was not updated", fix)
    else:
        yield Finding("ok", f"{check} version", f"it runs version {report.version} as well")
    if report.manifest != manifest.digest:
        paths = differing_fields(report.fields, field_hashes(manifest))
        what = (
            f"it works on manifest {report.manifest[:12]}, this site has {manifest.run}; they "
            f"differ in {name_fields(paths)}"
        )
        fix = "have both sites take the manifest that all parties approved"
        yield Finding("error", f"{check} manifest", what, "one of the two files is old", fix)
    else:
        yield Finding("ok", f"{check} manifest", "it works on the same manifest")

"""docs/deploying.md, walked: every site a network namespace and a folder, the guide's commands.

Between the sites go TLS over a bridge, and by hand only what the guide says: certificates,
the manifest, approvals, transcripts and results. Needs root and iproute2.
"""

import datetime as dt
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from aim_core.studies.clinic import write_clinic
from parties.wire.run_facts import JobFacts
from tests.support.documents import GUIDE, ROOT, calls
from tests.support.needs import needs_iproute2, needs_root, skip
from tests.support.processes.consortium import wait_until

PARTIES = ("a", "b", "c")
HOLDERS = ("clinic-east", "clinic-west")
SITES = (*PARTIES, *HOLDERS, "lab")
NETWORK = "10.77.0."
HEALTH = "import urllib.request as u; print(u.urlopen('http://{}:8080/healthz', timeout=3).status)"

pytestmark = [pytest.mark.slow, needs_root, needs_iproute2]


def commands(section: str) -> list[list[str]]:
    """Return the words after `distaim` of each command in a section of the guide."""
    guide = GUIDE.read_text("utf-8")
    (text,) = re.findall(rf"^## {re.escape(section)}.*?(?=^## |\Z)", guide, re.M | re.S)
    return calls(text)


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr}")


@contextmanager
def namespaces() -> Iterator[str]:
    """Make a namespace per site, wired to a bridge in one more; yield their names' beginning.

    Each knows the parties by the names of the guide, from a hosts file of its own.
    """
    token = f"distaim-{secrets.token_hex(3)}-"
    names = [f"{token}{site}" for site in (*SITES, "hub")]
    own_files = [Path("/etc/netns") / name for name in names]
    hosts = "".join(f"{NETWORK}{n + 1} {site}.example.org\n" for n, site in enumerate(SITES))
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("-n", names[-1], "link", "add", "br0", "up", "type", "bridge")
        except OSError as error:
            skip("run the tests as root, where network namespaces may be made", error)
        for n, name in enumerate(names[:-1]):
            far = ("peer", "name", f"p{n}", "netns", names[-1])
            ip("link", "add", "eth0", "netns", name, "type", "veth", *far)
            ip("-n", names[-1], "link", "set", f"p{n}", "up", "master", "br0")
            ip("-n", name, "address", "add", f"{NETWORK}{n + 1}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                ip("-n", name, "link", "set", device, "up")
            own_files[n].mkdir(parents=True)
            (own_files[n] / "hosts").write_text("127.0.0.1 localhost\n" + hosts)
        yield token
    finally:
        for name, files in zip(names, own_files, strict=True):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
            shutil.rmtree(files, ignore_errors=True)


class Sites:
    """The sites' folders and processes. A command runs in its site's folder and namespace."""

    def __init__(self, folder: Path, token: str) -> None:
        self.folder, self._token = folder, token
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for site in SITES:
            (folder / site).mkdir()

    def start(self, site: str, words: Sequence[str], answer: str = "") -> subprocess.Popen[bytes]:
        """Start a program at a site; what it says is added to the site's log."""
        where = ["ip", "netns", "exec", f"{self._token}{site}"]
        home = self.folder / site
        with (self.folder / f"{site}.log").open("ab") as log:
            process = subprocess.Popen(
                [*where, sys.executable, *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=home,
                env={**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)},
            )
        assert process.stdin is not None
        process.stdin.write(answer.encode())
        process.stdin.close()
        self.processes[site] = process
        return process

    def run(self, *calls: tuple[str, Sequence[str]], answer: str = "", code: int = 0) -> None:
        """Run `distaim` commands at different sites, side by side."""
        started = [(c, self.start(c[0], ["-m", "parties", *c[1]], answer)) for c in calls]
        for (site, words), process in started:
            assert process.wait(90) == code, f"{site}: {words}\n{self.log(site)}"

    def log(self, site: str) -> str:
        return (self.folder / f"{site}.log").read_text()

    def send(self, file: str, site: str, to: Sequence[str], folder: str = ".") -> None:
        """Have a file taken from one site to others."""
        for other in to:
            place = self.folder / other / folder
            place.mkdir(parents=True, exist_ok=True)
            if other != site:
                shutil.copy(self.folder / site / file, place)

    def settings(self, site: str, sample: str, *changes: tuple[str, str]) -> str:
        """Return a sample of deploy/ with this site's names and folder."""
        text = (ROOT / "deploy" / sample).read_text("utf-8")
        home = str(self.folder / site)
        for old, new in (("/etc/distaim", home), ("/var/lib/distaim", home), *changes):
            assert old in text
            text = text.replace(old, new)
        return text


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    with namespaces() as token:
        sites = Sites(tmp_path, token)
        try:
            yield sites
        finally:
            for process in sites.processes.values():
                process.kill()
                process.wait()


def test_the_guide_is_walked_over_separate_networks(sites: Sites) -> None:
    make_keys_and_manifest(sites)
    approve(sites)
    examine_and_start(sites)
    submit_and_run(sites)
    audit(sites)
    keys = {site: (sites.folder / site / f"{site}.key").read_bytes() for site in SITES}
    files = [path for path in sites.folder.rglob("*") if path.is_file()]
    for site, key in keys.items():  # no key has ever left
        assert [path for path in files if key in path.read_bytes()] == [
            sites.folder / site / f"{site}.key"
        ]


def make_keys_and_manifest(sites: Sites) -> None:
    sites.run(*[(call[1], call) for call in commands("2. Keys")])
    for site in SITES:
        sites.send(f"{site}.crt", site, ["a"])
    table, schema = write_clinic(sites.folder / "demo")
    shutil.copy(schema, sites.folder / "a" / "schema.toml")
    head, *rows = table.read_text().splitlines(keepends=True)
    for place, holder in enumerate(HOLDERS):
        own = "".join([head, *rows[place :: len(HOLDERS)]])
        (sites.folder / holder / "patients.csv").write_text(own)
    init, estimate = commands("3. The manifest")
    expires = init.index("--expires") + 1  # the guide's day passes, and adaptive rounds take long
    init[expires] = f"{dt.datetime.now(dt.UTC) + dt.timedelta(days=3):%Y-%m-%d}"
    sites.run(("a", [*init, "--rounds", "3"]))
    sites.run(("a", estimate))
    shutil.copy(sites.folder / "a" / "consortium" / "manifest.toml", sites.folder / "a")
    sites.send("manifest.toml", "a", SITES)


def approve(sites: Sites) -> None:
    sign, check = commands("4. Approve")
    for pid, site in enumerate(PARTIES):
        changes = (
            ('name = "a"', f'name = "{site}"'),
            ("/a.crt", f"/{site}.crt"),
            ("/a.key", f"/{site}.key"),
            ("party-a", f"party-{site}"),
            ("pid = 0", f"pid = {pid}"),
            ("# linger_seconds = 600.0", "linger_seconds = 2.0"),
        )
        text = sites.settings(site, "party-a.toml", *changes)
        (sites.folder / site / "party.toml").write_text(text)
    sites.run(*[(site, sign) for site in PARTIES], answer="y\n")
    sites.run(("a", check), code=1)
    sites.run(("a", commands("6. Start")[0]), code=2)
    assert "b, c have not signed it" in sites.log("a")
    for site in PARTIES:
        sites.send(f"approvals/{site}.json", site, SITES, "approvals")
    sites.run(*[(site, check) for site in SITES])


def examine_and_start(sites: Sites) -> None:
    party, *others = commands("5. Doctor")
    sites.run(*[(site, party) for site in PARTIES])
    (run,) = commands("6. Start")
    for site in ("c", "a", "b"):  # any order
        sites.start(site, ["-m", "parties", *run])
    running = dict(sites.processes)
    wait_until(lambda: all("all peers" in sites.log(s) for s in PARTIES), 60, "they never met")
    named = [Path(call[call.index("--cert") + 1]).stem for call in others]
    assert named == [HOLDERS[0], "lab"]
    sites.run(*zip(named, others, strict=True), ("a", party))
    assert "answers at https://b.example.org:8443" in sites.log("a")
    sites.processes.update({site: running[site] for site in PARTIES})
    health = [("a", "127.0.0.1", 0), ("b", "a.example.org", 1)]  # the page is on loopback alone
    for site, host, code in health:
        assert sites.start(f"{site}", ["-c", HEALTH.format(host)]).wait(30) == code
        sites.processes[site] = running[site]


def submit_and_run(sites: Sites) -> None:
    (submit,) = commands("7. Submit")
    other = [word.replace(*HOLDERS) for word in submit]
    sites.run((HOLDERS[0], submit))
    sites.processes["b"].kill()
    sites.processes["b"].wait()
    sites.start("b", ["-m", "parties", *commands("6. Start")[0]])
    sites.run((HOLDERS[1], other))
    for holder in HOLDERS:
        assert len(list((sites.folder / holder / "receipts").glob("*/party-*.json"))) == 3
    job, configured = commands("8. The job")
    sites.run(("lab", job))
    for site in PARTIES:
        assert sites.processes[site].wait(60) == 0, sites.log(site)
    (sites.folder / "lab" / "estimator.toml").write_text(sites.settings("lab", "estimator.toml"))
    sites.run(("lab", configured))  # the same job in its other form: its results are there
    results = sites.folder / "lab" / "results"
    assert len((results / "synthetic.csv").read_text().splitlines()) > 1000
    facts = JobFacts.model_validate_json((results / "results.json").read_bytes())
    assert facts.holders == list(HOLDERS)


def audit(sites: Sites) -> None:
    (words,) = commands("9. Audit")
    auditor = sites.folder / "auditor"
    for site in PARTIES:
        shutil.copytree(sites.folder / site / "transcript", auditor / site)
    shutil.copytree(sites.folder / "lab" / "results", auditor / "results")
    shutil.copy(sites.folder / "a" / "manifest.toml", auditor)
    shutil.copytree(sites.folder / "a" / "approvals", auditor / "approvals")
    done = subprocess.run(
        [sys.executable, "-m", "parties", *words, "--json"],
        cwd=auditor,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["verdict"] == "ok"

"""What goes wrong in the world, with real processes: links, disks, clocks, replays, intruders."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.needs import libfaketime, skip
from tests.support.processes.consortium import (
    DISTAIM,
    PARTIES,
    Consortium,
    assert_complete,
    wait_until,
)
from tests.support.processes.relay import Relay

HOUR = 3600


def told(consortium: Consortium, *names: str) -> str:
    return "".join(consortium.log(name) for name in names)


@contextmanager
def relayed(consortium: Consortium, rate: float = 1e9, delay: float = 0.0) -> Iterator[list[Relay]]:
    """Put a relay before every party's port for its peers."""
    c = consortium
    with ExitStack() as stack:
        yield [
            stack.enter_context(Relay(c.mpc[pid], c.mpc_inner[pid], rate, delay)) for pid in PARTIES
        ]


@pytest.mark.slow
def test_a_slow_link_only_takes_longer(tmp_path: Path) -> None:
    with Consortium(tmp_path, rounds=2, relayed=True) as c, relayed(c, 250e3, 0.008) as links:
        c.start_all()
        c.complete()
        assert sum(link.n_bytes for link in links) > 1_000_000
        assert_complete(c, lost=0)
        assert "waiting until" not in told(c, "party-0", "party-1", "party-2")


@pytest.mark.slow
def test_a_damaged_link_is_met_again(tmp_path: Path) -> None:
    with Consortium(tmp_path, rounds=4, relayed=True) as c, relayed(c) as links:
        c.start_all()
        for count in (1, 2):
            c.wait_for_event(0, "measured", count)
            links[count].damage = 1  # TLS finds the changed bytes, and ends the connection
            c.wait_for_event(0, "resumed", count)
        c.complete(25)  # less than the estimator's patience with a party that says nothing
        assert_complete(c)
        assert "waiting until all peers are back" in told(c, "party-0", "party-1", "party-2")


@pytest.mark.slow
def test_a_silent_link_is_named_within_the_deadline(tmp_path: Path) -> None:
    """The link takes everything and delivers nothing, then heals."""
    with Consortium(tmp_path, rounds=20, relayed=True) as c, relayed(c) as links:
        c.start_all()
        c.wait_for_event(0, "measured", 2)
        links[1].silent = True  # between parties 0 and 1

        def noticed() -> bool:
            return "is silent for" in c.log("party-0") or "is silent for" in c.log("party-1")

        wait_until(noticed, 40, "nobody noticed")
        links[1].silent = False
        c.complete(120)
        assert_complete(c)


@contextmanager
def small_disk(folder: Path, n_megabytes: int) -> Iterator[None]:
    """Mount a file system of its own on a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={n_megabytes}m"
    mount = ["mount", "-t", "tmpfs", "-o", size, "distaim-test", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.CalledProcessError) as error:
        skip("run the tests as root, where file systems may be mounted", error)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def fill(folder: Path) -> Path:
    """Use up what space is left in a folder."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass
    return filler


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """One party's disk is full when the uploads come, and again in the midst of the rounds."""
    site = tmp_path / "party-1"
    with small_disk(site, 8), Consortium(tmp_path, rounds=12) as c:
        c.start_parties()
        wait_until(lambda: "all peers" in c.log("party-1"), 60, "the parties never met")
        filler = fill(site)
        assert c.start_holder(0).wait(60) == 4
        assert "No space left" in c.log("holder-0")
        assert "free space" in c.log("holder-0")
        assert "No space left" in c.log("party-1")  # its operator is the one who can help
        filler.unlink()
        for number in range(2):
            c.start_holder(number)
            c.wait_for(f"holder-{number}")
        c.start_job()
        c.wait_for_event(1, "measured", 2)
        filler = fill(site)
        assert c.processes["party-1"].wait(60) == 4
        last = c.log("party-1").splitlines()[-1]
        assert "full" in last
        assert "start this party again" in last
        assert c.processes["estimator"].wait(60) == 4
        assert json.loads(c.log("estimator").splitlines()[-1])["party"] == 1
        c.start_party(1)  # too early: it says so again, with a code that systemd tries anew after
        assert c.processes["party-1"].wait(60) == 4
        assert "start this party again" in c.log("party-1").splitlines()[-1]
        filler.unlink()
        c.start_party(1)
        c.start_job()
        c.complete()
        assert_complete(c)


def shifted(seconds: int) -> dict[str, str]:
    """Return the environment of a process whose clock is off."""
    return {
        "LD_PRELOAD": str(libfaketime()),
        "FAKETIME": f"{seconds:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def doctor(
    consortium: Consortium, pid: int, environment: dict[str, str]
) -> dict[str, dict[str, str]]:
    """Return a party's findings that are not ok, by check."""
    config = consortium.party_config(pid)
    done = subprocess.run(
        [*DISTAIM, "doctor", "--config", str(config), "--json"],
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )
    findings = json.loads(done.stdout)["findings"]
    return {f["check"]: f for f in findings if f["level"] != "ok"}


def test_a_party_with_a_fast_clock_takes_part_and_doctor_names_it(tmp_path: Path) -> None:
    with Consortium(tmp_path, rounds=1, linger_seconds=1.0) as c:
        fast = shifted(HOUR)
        c.start_party(0)
        c.start_party(1, fast)
        c.start_party(2)
        wait_until(lambda: "all peers" in c.log("party-1"), 60, "the parties never met")
        found = doctor(c, 0, {})
        assert list(found) == ["party 1 (party-1) clock"]
        finding = found["party 1 (party-1) clock"]
        assert finding["level"] == "error"
        assert "behind that of the party" in finding["what"]
        assert "NTP" in finding["fix"]
        assert set(doctor(c, 1, fast)) == {f"party {p} (party-{p}) clock" for p in (0, 2)}
        c.start_estimator_and_holders()
        c.complete()
        assert_complete(c, lost=0)


def test_a_party_with_a_slow_clock_is_told_why_it_is_alone(tmp_path: Path) -> None:
    """Its clock stands before the beginning of the others' new certificates."""
    slow = shifted(-2 * HOUR)
    with Consortium(tmp_path) as c:
        c.start_party(0)
        c.start_party(1, slow)
        c.start_party(2)
        c.wait_until_up(1)
        found = doctor(c, 1, slow)
        assert found["certificate"]["level"] == "error"
        assert "clock is behind" in found["certificate"]["cause"]
        alone = doctor(c, 0, {})
        assert list(alone) == ["party 1 (party-1)"]
        assert "check both clocks" in alone["party 1 (party-1)"]["fix"]
        assert "set this machine's clock" in c.log("party-1")
        c.kill("party-1")
        c.start_party(1)
        wait_until(lambda: "all peers" in c.log("party-1"), 60, "the parties never met")

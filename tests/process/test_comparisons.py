"""`distaim compare` as a user runs it: over MPC, with the plaintext flag, interrupted, misused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aim_core.studies.clinic import write_clinic

DISTAIM = [sys.executable, "-m", "parties"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    table, schema = write_clinic(tmp_path_factory.mktemp("demo"))
    return [str(table), "--schema", str(schema)]


def command(demo: list[str], out: Path, methods: str, *more: str) -> list[str]:
    return [
        *DISTAIM,
        "compare",
        *demo,
        *("--methods", methods, "--out", str(out)),
        *("--holders", "6", "--participation", "0.4", "--rounds", "2", "--epsilon", "1"),
        *("--seeds", "1", "--workload", "random:4:1", "--max-model-mb", "2", *more),
    ]


def rows(out: Path) -> dict[str, dict[str, object]]:
    found = json.loads((out / "compare.json").read_text())["rows"]
    return {row["method"]: row for row in found}


def test_distaim_is_run_over_mpc(demo: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    skewed = ("--split", "dirichlet:1", "--target", "smoker")
    done = subprocess.run(
        command(demo, out, "distaim,central", *skewed, "--json"),
        capture_output=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {"rows": 2, "out": str(out)}
    found = rows(out)
    assert found["distaim"]["is_real_mpc"]
    assert found["distaim"]["communication"] == "measured"
    assert found["distaim"]["bytes_servers"] > 100_000
    assert found["distaim"]["max_bytes_up"] > found["distaim"]["bytes_up"] > 0
    assert not (out / "work").exists()
    assert b"ETA" in done.stderr


def test_a_flag_takes_only_the_bytes_from_mpc(demo: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = command(demo, out, "distaim", "--plaintext-utility")
    subprocess.run([*arguments, "--seeds", "2"], capture_output=True, timeout=180, check=True)
    found = json.loads((out / "compare.json").read_text())
    real = {row["seed"]: row["is_real_mpc"] for row in found["rows"]}
    assert real == {0: True, 1: False}
    assert len({row["bytes_up"] for row in found["rows"]}) == 1
    assert "plaintext oracle" in (out / "compare.html").read_text()


def test_a_killed_comparison_leaves_no_process_and_goes_on(demo: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = command(demo, out, "central,flaim,oneway", "--seeds", "20")
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while not (out / "rows.jsonl").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        group = process.pid
    while _alive(group):
        assert time.monotonic() < deadline, "a process of the pool lives on"
        time.sleep(0.1)
    n_before = len((out / "rows.jsonl").read_bytes().splitlines())
    again = subprocess.run([*arguments[:-1], "2"], capture_output=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr.decode()
    assert len(json.loads((out / "compare.json").read_text())["rows"]) >= max(6, n_before - 1)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--epsilon", "-1"], "epsilon"),
        (["--split", "postcode"], "split"),
        (["--methods", "magic"], "cannot be compared"),
        (["--participation", "0"], "above 0"),
        (["--target", "nothing", "--split", "dirichlet:1"], "nothing"),
        (["--workload", "random:9999:1"], "cannot draw"),
        (["--split", "dirichlet:1"], "no attribute with two values"),
    ],
)
def test_bad_options_end_with_a_reason(
    demo: list[str], tmp_path: Path, more: list[str], text: str
) -> None:
    done = subprocess.run(
        [*command(demo, tmp_path / "out", "flaim"), *more],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr.decode()
    assert text in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()

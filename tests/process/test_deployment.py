"""A consortium of real processes in which roles are killed, stopped, and started again."""

import contextlib
import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import schema_from_dict
from parties.agreement.manifest import load_manifest
from parties.agreement.values import EngineKind
from parties.identity.signatures import Verifier
from parties.local.ports import free_ports
from parties.wire.messages import RECEIPT_PURPOSE, UploadReceipt, parse
from tests.support.processes.consortium import PARTIES, Consortium, assert_complete, wait_until
from tests.support.processes.relay import Relay


def test_parties_and_estimator_are_killed_and_the_job_completes(tmp_path: Path) -> None:
    with Consortium(tmp_path, rounds=5) as c:
        c.start_job()  # before anybody listens
        c.start_party(2)
        c.start_holder(0)
        c.start_party(0)
        c.start_party(1)
        c.wait_for("holder-0")
        c.kill("party-0")  # an upload is on its disk
        c.start_party(0)
        c.start_holder(1)
        c.wait_for_event(1, "freeze")
        c.kill("party-1")
        c.start_party(1)
        c.wait_for_event(2, "select")
        c.kill("party-2")
        c.start_party(2)
        c.wait_for_event(0, "measured", 3)
        c.kill("estimator")
        c.start_job()
        for name in ("estimator", "party-0", "party-1", "party-2"):
            c.wait_for(name)
        assert_complete(c)
        assert c.events(2).count("resumed") >= 1
        receipts = c.folder / "holder-0" / "receipts"
        manifest = load_manifest(c.manifest)
        for path in receipts.glob("*/party-*.json"):
            receipt = parse(UploadReceipt, path.read_bytes())
            verifier = Verifier(manifest.parties[receipt.party].certificate)
            verifier.check(RECEIPT_PURPOSE, receipt.signed_bytes(), receipt.signature)
        assert len(list(receipts.glob("*/*.json"))) == 3
        assert c.start_job().wait(60) == 0  # once more: the results are there


def test_a_rolled_back_ledger_is_named_by_the_others(tmp_path: Path) -> None:
    with Consortium(tmp_path, rounds=60) as c:
        c.start_all()
        c.wait_for_event(0, "measured", 1)
        c.kill("party-1")
        state = c.folder / "party-1" / "state"
        shutil.copytree(state, tmp_path / "old")
        c.start_party(1)
        c.wait_for_event(0, "measured", 4)
        c.kill("party-1")
        shutil.rmtree(state)
        shutil.copytree(tmp_path / "old", state)
        c.start_party(1)
        for pid in PARTIES:
            assert c.processes[f"party-{pid}"].wait(60) == 5
            assert "party 1" in c.log(f"party-{pid}").splitlines()[-1]
        assert "rolled back or lost" in c.log("party-0")
        assert c.processes["estimator"].wait(60) in (4, 5)
        assert "party 1" in c.log("estimator").splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_kills_at_many_instants(tmp_path: Path, seed: int) -> None:
    """Kill a party every second or so, at instants that differ from run to run."""
    with Consortium(tmp_path, rounds=25, workload="3way") as c:
        c.start_all()
        for turn in range(6):
            time.sleep(1.5 + 0.37 * ((seed * 7 + turn * 3) % 5))
            victim = ["party-0", "party-1", "estimator", "party-2"][(seed + turn) % 4]
            if c.processes["estimator"].poll() is not None:
                break
            c.kill(victim)
            if victim == "estimator":
                c.start_job()
            else:
                c.start_party(int(victim[-1]))
        c.wait_for("estimator", 240)
        for pid in PARTIES:
            c.wait_for(f"party-{pid}")
        assert_complete(c)


@pytest.mark.slow
def test_a_stalled_party_is_noticed_and_taken_back(tmp_path: Path) -> None:
    with Consortium(tmp_path, rounds=30) as c:
        c.start_all()
        c.wait_for_event(0, "measured", 2)
        c.processes["party-1"].send_signal(signal.SIGSTOP)

        def noticed() -> bool:
            return "party 1 is silent" in c.log("party-0") + c.log("party-2")

        wait_until(noticed, 60, "nobody noticed")
        c.processes["party-1"].send_signal(signal.SIGCONT)
        c.wait_for("estimator", 120)
        for pid in PARTIES:
            c.wait_for(f"party-{pid}")
        assert_complete(c)


def _write_large_table(path: Path, n_rows: int) -> Schema:
    """Write a Parquet table in row groups; return its schema."""
    sizes = {"a": 50, "b": 20, "c": 12, "d": 8, "e": 4, "f": 2}
    form = pa.schema([(name, pa.int32()) for name in sizes])
    generator = np.random.default_rng(1)
    with pq.ParquetWriter(path, form) as writer:
        for start in range(0, n_rows, 1 << 20):
            n = min(1 << 20, n_rows - start)
            columns = [generator.integers(0, size, n, dtype=np.int32) for size in sizes.values()]
            writer.write_table(pa.table(columns, schema=form))
    return schema_from_dict(sizes)


def _peak_mb(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


@pytest.mark.slow
def test_a_table_larger_than_memory_is_shared_in_bounded_memory(tmp_path: Path) -> None:
    n_rows = 10_000_000
    table = tmp_path / "large.parquet"
    schema = _write_large_table(table, n_rows)
    folder = tmp_path / "consortium"
    folder.mkdir()
    with Consortium(folder, table=table, schema=schema, n_max=n_rows, n_holders=1) as c:
        c.start_parties()
        holder = c.start_holder(0)
        peak = 0.0
        deadline = time.monotonic() + 300
        while holder.poll() is None:
            peak = max(peak, _peak_mb(holder.pid))
            assert time.monotonic() < deadline
            time.sleep(0.05)
        c.wait_for("holder-0")
        assert 100 < peak < 1500, peak


def test_a_holder_that_is_cut_off_sends_the_rest_of_the_same_shares(tmp_path: Path) -> None:
    schema = schema_from_dict(dict.fromkeys("abcdef", 300))
    table = tmp_path / "table.csv"
    rows = np.random.default_rng(1).integers(0, 300, (2000, 6))
    pd.DataFrame(rows, columns=list("abcdef")).to_csv(table, index=False)
    folder = tmp_path / "consortium"
    folder.mkdir()
    with Consortium(folder, table=table, schema=schema, n_holders=1) as c:
        (front,) = free_ports(1)
        front, c.https[1] = c.https[1], front
        c.start_party(0)
        c.start_party(1)
        outbox = folder / "holder-0" / "outbox"
        with Relay(front, c.https[1], rate=1e6) as line:
            c.start_holder(0)
            wait_until(lambda: line.n_bytes > 1e6, 60, "nothing is uploaded")
            body = next(outbox.glob("*/body-1.share")).stat().st_size
        before = line.n_bytes
        assert before < 0.7 * body
        c.kill("holder-0")
        sent = json.loads(next(outbox.glob("*/upload.json")).read_text())["upload"]
        assert list(outbox.glob("*/receipt-0.json"))
        c.kill("party-1")
        c.start_party(1)
        c.start_party(2)
        with Relay(front, c.https[1]) as line:
            c.start_holder(0)
            c.wait_for("holder-0")
        # what was under way when the connection broke is lost, and TLS adds a little
        assert body - before < line.n_bytes < body - before + 5e5
        receipts = (folder / "holder-0" / "receipts").glob("*/party-*.json")
        assert [parse(UploadReceipt, path.read_bytes()).upload for path in receipts] == [sent] * 3
        assert not list(outbox.iterdir())
        other = tmp_path / "other.csv"  # a second, different upload
        lines = table.read_text().splitlines(keepends=True)
        other.write_text("".join(lines[:-5]))
        with Relay(front, c.https[1]):
            assert c.start_holder(0, other).wait(60) == 2
        assert "has uploaded something else before" in c.log("holder-0")


@pytest.mark.slow
def test_a_party_killed_in_a_shamir_job_is_named_and_restarts_resume(tmp_path: Path) -> None:
    sizes = {"a": 3, "b": 4, "c": 3}
    table = tmp_path / "table.csv"
    codes = np.random.default_rng(1).integers(0, list(sizes.values()), (3000, 3))
    pd.DataFrame(codes, columns=list(sizes)).to_csv(table, index=False)
    schema = schema_from_dict(sizes)
    folder = tmp_path / "consortium"
    folder.mkdir()
    with Consortium(folder, table=table, schema=schema, rounds=4, engine=EngineKind.SHAMIR) as c:
        c.start_all()
        c.wait_for_event(0, "measured", 1)
        c.kill("party-1")
        for pid in (0, 2):
            assert c.processes[f"party-{pid}"].wait(60) == 4
            assert "party 1" in c.log(f"party-{pid}").splitlines()[-1]
        c.start_parties()
        c.complete()
        assert_complete(c)

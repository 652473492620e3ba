"""Benchmark of the heavy step: sum |x - y| over secret x and public y.

Three (or more) processes over TLS on loopback, warm, median of several runs; beside it, in the
same run, stock MPyC's `np_absolute` at 10^4 cells. Every model count is above zero, so no cell
is skipped: this is the worst case of a scoring step.

    python scripts/bench_distance.py --cells 1000000 --bits 16 --parties 3 --json
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mpc.arrays import Integers
from mpc.session.channel import Step
from mpc.session.session import Session
from mpc.shares.replicated import Share, ring
from mpc.steps.distance import l1_distances, prepare_cells
from parties.local.party_processes import run_local_parties

STOCK_CELLS = 10_000
STOCK_PROGRAM = """
import sys, time, numpy as np
from mpyc.runtime import mpc
n = int(sys.argv[1])
secint = mpc.SecInt(24)
async def main():
    async with mpc:
        x = secint.array(np.arange(n) % 1000)
        y = np.arange(n)[::-1] % 1000
        x = mpc.input(x, senders=0)
        await mpc.gather(x)
        sent = sum(p.protocol.nbytes_sent for p in mpc.parties if p.pid != mpc.pid)
        started = time.perf_counter()
        total = await mpc.output(mpc.np_sum(mpc.np_absolute(x - y)))
        seconds = time.perf_counter() - started
        sent = sum(p.protocol.nbytes_sent for p in mpc.parties if p.pid != mpc.pid) - sent
        assert total == int(abs(np.arange(n) % 1000 - y).sum())
        print("result", seconds, sent / n, flush=True)
mpc.run(main())
"""


def _shared_cells(
    session: Session, n_cells: int, bits: int, ring_bits: int
) -> tuple[Share, Integers]:
    """Deal a sharing of random counts from a public seed: only speed is looked at here."""
    generator = np.random.default_rng(1)
    algebra = ring(ring_bits)
    counts = generator.integers(0, 1 << bits, n_cells).astype(algebra.dtype)
    n_sets = len(session.access.sets)
    parts = [
        generator.integers(0, 1 << 32, n_cells, dtype=np.uint32).astype(algebra.dtype)
        for _ in range(n_sets - 1)
    ]
    parts.append(counts - sum(parts, start=np.zeros(n_cells, algebra.dtype)))
    held = {i: parts[i] for i in session.access.held[session.pid]}
    model = generator.integers(1, 1 << bits, n_cells)
    return Share(algebra, (n_cells,), frozenset(range(n_sets)), held), model


async def distance_program(session: Session, argument: dict[str, int]) -> dict[str, Any]:
    """Prepare once, then score `runs` times; every party runs it."""
    n_cells, bits = argument["cells"], argument["bits"]
    counts, model = _shared_cells(session, n_cells, bits, argument["ring_bits"])
    with session.step(Step.PREPARE, "bench") as channel:
        cells = await prepare_cells(channel, counts, [n_cells], bits)
    seconds = []
    for run in range(argument["runs"] + 1):
        await session.agree(f"start-{run}", b"")
        started = time.perf_counter()
        with session.step(Step.SCORE, f"run-{run}") as channel:
            await l1_distances(channel, cells, [0], [model])
        seconds.append(time.perf_counter() - started)
    score, prepare = session.statistics[Step.SCORE], session.statistics[Step.PREPARE]
    return {
        "seconds": seconds[1:],
        "bytes": score.bytes_sent / score.runs,
        "rounds": score.rounds // score.runs,
        "prepare": {
            "seconds": prepare.seconds,
            "bytes": prepare.bytes_sent,
            "rounds": prepare.rounds,
        },
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def stock_mpyc(n_cells: int) -> dict[str, float]:
    """Run stock MPyC on three local parties, as its users do (plain TCP)."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "stock.py"  # MPyC starts the other parties from this file
        program.write_text(STOCK_PROGRAM)
        command = [sys.executable, str(program), str(n_cells), "-M3", "--no-log"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    line = next((li for li in done.stdout.splitlines() if li.startswith("result")), None)
    if line is None:
        raise SystemExit(f"stock MPyC failed: {done.stderr[-500:]}")
    _, seconds, per_cell = line.split()
    return {
        "cells": n_cells,
        "seconds": float(seconds),
        "cells_per_second": n_cells / float(seconds),
        "bytes_per_cell_per_party": float(per_cell),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the report as a dictionary."""
    argument = {
        "cells": options.cells,
        "bits": options.bits,
        "ring_bits": options.bits + 3,
        "runs": options.runs,
    }
    parties = run_local_parties(
        options.parties, options.threshold, distance_program, argument, seconds=900
    )
    slowest = [max(run) for run in zip(*(p["seconds"] for p in parties), strict=True)]
    seconds = statistics.median(slowest)
    stock = stock_mpyc(STOCK_CELLS)
    rate = options.cells / seconds
    return {
        "cells": options.cells,
        "bits": options.bits,
        "ring_bits": argument["ring_bits"],
        "parties": options.parties,
        "threshold": options.threshold,
        "seconds": seconds,
        "cells_per_second": rate,
        "bytes_per_cell_per_party": max(p["bytes"] for p in parties) / options.cells,
        "comm_rounds": parties[0]["rounds"],
        "peak_rss_mb": max(p["rss_mb"] for p in parties),
        "once_per_job": {
            "seconds": max(p["prepare"]["seconds"] for p in parties),
            "bytes_per_cell_per_party": max(p["prepare"]["bytes"] for p in parties) / options.cells,
            "comm_rounds": parties[0]["prepare"]["rounds"],
        },
        "stock_mpyc": stock,
        "times_stock_mpyc": rate / stock["cells_per_second"],
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=16)
    parser.add_argument("--parties", type=int, default=3)
    parser.add_argument("--threshold", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = measure(options)
    if options.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{report['cells_per_second']:,.0f} cells/s, {report['comm_rounds']} rounds")
    print(f"{report['bytes_per_cell_per_party']:.2f} bytes per cell and party")
    print(f"{report['times_stock_mpyc']:,.0f} times stock MPyC")


if __name__ == "__main__":
    main()

"""Benchmark of joint noise: Gaussian samples and a selection, three processes over TLS on loopback.

    python scripts/bench_noise.py --json

Figures are the median of several warm runs, of the slowest party each; bytes are those of the party
that sends most. A selection is timed from the shared distances to the opened index: once with its
Gumbels made on the spot, once with Gumbels that the bank holds. Beside them stand figures of
MP-SPDZ (replicated ring, same class of machine), whose noise is not exact.
"""

import argparse
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any

import numpy as np

from mpc.noise.bank import MAX_GUMBELS, NoiseBank
from mpc.noise.sources import JointNoise
from mpc.session.channel import Step
from mpc.session.session import Session
from mpc.shares.replicated import Share, ring
from mpc.steps.job import FRACTION_BITS
from mpc.steps.selection import select
from parties.local.bench_sessions import run_local_parties

RING = ring(20)
DISTANCE_BITS = RING.bits - 1
SIGMAS = (40, 91)

# Seconds, megabytes per party, rounds.
NEEDED = {"gaussian": (0.3, 8.0, 60), "selection": (0.1, 2.0, 120)}
MP_SPDZ = {"gaussian": (0.289, 17.0, 403), "selection": (0.064, 1.4, 281)}

Run = Callable[[str], Awaitable[object]]


async def _timed(session: Session, name: str, runs: int, run: Run) -> dict[str, Any]:
    """Run once to warm up, then `runs` times, all parties starting together."""
    seconds, megabytes, rounds = [], [], []
    for number in range(runs + 1):
        label = f"{name}-{number}"
        before = _totals(session)
        await session.agree(f"start-{label}", b"")
        started = time.perf_counter()
        await run(label)
        seconds.append(time.perf_counter() - started)
        after = _totals(session)
        megabytes.append((after[0] - before[0]) / 1e6)
        rounds.append(after[1] - before[1])
    return {"seconds": seconds[1:], "megabytes": max(megabytes[1:]), "rounds": max(rounds[1:])}


def _totals(session: Session) -> tuple[int, int]:
    """Return bytes and rounds of noise and selections so far, one step after the other."""
    steps = [cost for step, cost in session.statistics.items() if step in (Step.NOISE, Step.SELECT)]
    return sum(s.bytes_sent for s in steps), sum(s.rounds for s in steps)


class QuietBank(NoiseBank):
    """A bank that makes nothing in the background, so that nothing else runs beside a run."""

    def fill_gumbels(self) -> None:
        """Make nothing ahead."""

    def fill(self) -> None:
        """Begin to make as many Gumbels as a bank holds."""
        super().fill_gumbels()


def _shared_distances(session: Session, n_candidates: int) -> Share:
    """Deal a sharing of random distances from a public seed: only speed is looked at here."""
    generator = np.random.default_rng(1)
    rest = generator.integers(0, 1 << DISTANCE_BITS, n_candidates, dtype=RING.dtype)
    parts = []
    for _ in session.access.sets[1:]:
        parts.append(generator.integers(0, 1 << 32, n_candidates, dtype=RING.dtype))
        rest = rest - parts[-1]
    parts.append(rest)
    held = {i: parts[i] for i in session.access.held[session.pid]}
    return Share(RING, (n_candidates,), frozenset(range(len(parts))), held)


def _gaussians(session: Session, noise: JointNoise, n: int, sigma: int) -> Run:
    async def run(label: str) -> Share:
        with session.step(Step.NOISE, label) as channel:
            return await noise.gaussian(channel, RING, n, Fraction(sigma**2))

    return run


def _selection(session: Session, noise: JointNoise, n_candidates: int, bank: NoiseBank) -> Run:
    distances = _shared_distances(session, n_candidates)
    factors, biases = [1 << 22] * n_candidates, [1000] * n_candidates
    bound = noise.gumbel_bound(FRACTION_BITS)

    async def run(label: str) -> int:
        with session.step(Step.SELECT, label) as channel:
            return await select(channel, distances, DISTANCE_BITS, factors, biases, bank, bound)

    return run


async def noise_program(session: Session, argument: dict[str, int]) -> dict[str, Any]:
    """Sample, select, and select from the bank; every party runs it."""
    noise, runs, n_candidates = JointNoise(), argument["runs"], argument["candidates"]
    report: dict[str, Any] = {}
    for sigma in SIGMAS:
        name = f"gaussian-{sigma}"
        run = _gaussians(session, noise, argument["samples"], sigma)
        report[name] = await _timed(session, name, runs, run)
    bank = QuietBank(session, noise, RING, FRACTION_BITS, MAX_GUMBELS, 1)
    run = _selection(session, noise, n_candidates, bank)
    report["selection"] = await _timed(session, "selection", runs, run)
    bank.fill()  # the warm-up waits for it
    n_stocked = min(runs, MAX_GUMBELS // n_candidates - 1)
    report["selection-banked"] = await _timed(session, "banked", n_stocked, run)
    return report


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the report as a dictionary."""
    argument = {"samples": options.samples, "candidates": options.candidates, "runs": options.runs}
    parties = run_local_parties(
        options.parties, options.threshold, noise_program, argument, seconds=300
    )
    report: dict[str, Any] = {**argument, "parties": options.parties}
    for name in parties[0]:
        answers = [party[name] for party in parties]
        slowest = [max(run) for run in zip(*(a["seconds"] for a in answers), strict=True)]
        figures = {
            "seconds": statistics.median(slowest),
            "megabytes_per_party": max(a["megabytes"] for a in answers),
            "comm_rounds": max(a["rounds"] for a in answers),
        }
        kind = name.partition("-")[0]
        met = all(
            value <= bound for value, bound in zip(figures.values(), NEEDED[kind], strict=True)
        )
        ratios = {
            key: round(value / reference, 3)
            for (key, value), reference in zip(figures.items(), MP_SPDZ[kind], strict=True)
        }
        report[name] = {**figures, "meets_need": met, "times_mp_spdz": ratios}
    return report


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--parties", type=int, default=3)
    parser.add_argument("--threshold", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not 2 <= options.candidates <= MAX_GUMBELS // 2:
        parser.error(f"between 2 and {MAX_GUMBELS // 2} candidates")
    report = measure(options)
    if options.json:
        print(json.dumps(report, indent=2))
        return
    for name, figures in report.items():
        if isinstance(figures, dict):
            print(
                f"{name}: {figures['seconds']:.3f} s, {figures['megabytes_per_party']:.2f} MB, "
                f"{figures['comm_rounds']} rounds"
            )


if __name__ == "__main__":
    main()

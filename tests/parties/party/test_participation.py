"""DistAIM with Poisson participation: who counts in a round, at a party and in the clear."""

import asyncio
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aim_core.arrays import CodeTable, Indices
from aim_core.counts.marginals import count_marginals
from aim_core.counts.workload import closure, maximal_cliques, parse_workload
from aim_core.mechanisms.aim import aim, drive
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.mechanisms.plaintext import GrowingOracle, PlaintextOracle
from aim_core.mechanisms.requests import Measure, Select
from aim_core.models.descent import MirrorDescent
from aim_core.privacy.noise_facts import Noise
from aim_core.privacy.participation import Participation
from parties.agreement.derived import aim_settings, participation
from parties.agreement.manifest import Manifest
from tests.support.party_world import (
    BODY_SIZE,
    UPLOAD,
    Raw,
    ScriptedEngine,
    World,
    freeze_body,
    measure_body,
    send_upload,
)
from tests.support.toys import TOY, NoNoise

PAIRS = parse_workload("2way", TOY)


class HalfWorld(World):
    """Half of the holders join in each round; ann, bob are holders 0 and 1."""

    def raw(self) -> Raw:
        raw = super().raw()
        # with this seed bob is there from the beginning and ann joins in round 3
        raw["mechanism"] |= {"participation": "1/2", "seed": SEED}
        return raw


def _seed() -> int:
    half = Fraction(1, 2)
    for seed in range(10_000):
        found = Participation(2, half, seed)
        if [found.present(r) for r in range(4)] == [{1}, {1}, {1}, {0, 1}]:
            return seed
    raise AssertionError


SEED = _seed()


@pytest.mark.parametrize("rate", ["1", "1/2"])
def test_a_party_loads_who_has_joined(tmp_path: Path, rate: str) -> None:
    world = (World if rate == "1" else HalfWorld)(tmp_path, rho="10")

    async def scenario() -> list[list[str]]:
        engine = ScriptedEngine()
        job = world.job()
        await job.connected(engine)
        for holder in ("ann", "bob"):
            await send_upload(job, holder, bytes(BODY_SIZE))
        await job.freeze(freeze_body(ann=UPLOAD, bob=UPLOAD))
        for number in (0, 2, 3):  # the world's budget pays for three
            await job.measure(f"measure-{number}", measure_body(number))
        job.close()
        return [
            [Path(name).stem for name in call[1]] if call[0] == "load" else ["measure"]
            for call in engine.calls
        ]

    calls = asyncio.run(scenario())
    both, measured = ["ann", "bob"], [["measure"]]
    # all uploads are loaded, and so checked, when they are frozen
    if rate == "1":
        assert calls == [both, *measured * 3]
    else:
        assert calls == [both, ["bob"], *measured * 2, both, *measured]


def test_a_party_that_comes_back_loads_who_has_joined(tmp_path: Path) -> None:
    world = HalfWorld(tmp_path, rho="10")

    async def scenario() -> list[tuple[Any, ...]]:
        engine = ScriptedEngine()
        job = world.job()
        await job.connected(engine)
        for holder in ("ann", "bob"):
            await send_upload(job, holder, bytes(BODY_SIZE))
        await job.freeze(freeze_body(ann=UPLOAD, bob=UPLOAD))
        await job.measure("measure-0", measure_body(0))
        job.disconnected()
        again = ScriptedEngine()
        await job.connected(again)
        await job.measure("measure-1", measure_body(1))
        job.close()
        return again.calls

    calls = asyncio.run(scenario())
    assert [call[1] for call in calls if call[0] == "load"] == [
        ["ann.share", "bob.share"],
        ["bob.share"],
    ]


def test_all_roles_read_the_same_participation_from_the_manifest(tmp_path: Path) -> None:
    manifest = HalfWorld(tmp_path).manifest()
    assert participation(manifest, 2) == Participation(2, Fraction(1, 2), SEED)
    assert aim_settings(manifest, 2).participation == participation(manifest, 2)
    whole = World(tmp_path / "whole").manifest()
    assert whole.mechanism.participation == "1"
    assert Manifest.parse(json.loads(whole.canonical_bytes())).digest == whole.digest


def rows(seed: int = 0) -> tuple[CodeTable, Indices]:
    generator = np.random.default_rng(seed)
    codes = np.stack([generator.integers(0, size, 400) for size in TOY.sizes], axis=1)
    return codes, generator.integers(0, 4, 400)


def test_the_growing_oracle_answers_over_those_present() -> None:
    codes, owners = rows()
    some = Participation(4, Fraction(1, 3), 1)
    oracle = GrowingOracle(PAIRS, codes, owners, some, NoNoise(), 20)
    seen = set()
    for number in range(6):
        present = sorted(some.present(number))
        here = codes[np.isin(owners, present)]
        request = Measure(number, closure(PAIRS), Fraction(1), Fraction(0))
        exact = count_marginals([here], TOY, closure(PAIRS))
        for clique, values in zip(request.cliques, oracle.measure(request), strict=True):
            assert np.array_equal(values, exact[clique])
        one = PlaintextOracle(
            TOY, count_marginals([here], TOY, maximal_cliques(PAIRS)), NoNoise(), 20
        )
        model = tuple(np.zeros(TOY.n_cells(c), np.int64) for c in PAIRS.cliques)
        select = Select(number, PAIRS.cliques, (1, 1, 1), Fraction(1), (0,) * 3, model, Fraction(0))
        assert oracle.select(select) == one.select(select)
        seen.add(len(present))
    assert len(seen) > 1


@pytest.mark.parametrize("rate", [Fraction(1), Fraction(1, 3)])
def test_the_model_follows_the_holders_present(rate: Fraction) -> None:
    codes, owners = rows()
    some = Participation(4, rate, 1)
    settings = AimSettings(rho=Fraction(1000), n_max=1000, y_max=1000, rounds=8, participation=some)
    oracle = GrowingOracle(PAIRS, codes, owners, some, NoNoise(), 20)
    asked = []
    result = drive(
        aim(settings, PAIRS, Noise(), MirrorDescent()),
        oracle,
        lambda request, _: asked.append(request),
    )
    present = [int(np.isin(owners, sorted(some.present(r))).sum()) for r in range(9)]
    assert result.model.total == pytest.approx(present[-1], rel=0.02)
    for request in asked:
        if isinstance(request, Select):
            totals = [int(model.sum()) for model in request.model_counts]
            # exact where nobody joins; a newcomer is expected to have as many records as others
            assert totals[0] == pytest.approx(present[request.round], rel=0.35)
    if rate == 1:
        assert [m.values.sum() for m in result.measurements] == [400] * len(result.measurements)

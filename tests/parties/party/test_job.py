import asyncio
import hashlib
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from aim_core.errors import BudgetExceeded
from mpc.errors import PeerLost
from parties.errors import RequestConflict, RequestRefused, UploadRefused
from parties.party.job import PartyJob
from parties.wire.messages import SelectAnswer, decode_marginals, encode_counts, pack, parse
from tests.support.party_world import (
    BODY_SIZE,
    PER_CANDIDATE,
    PER_MARGINAL,
    UPLOAD,
    ScriptedEngine,
    World,
    freeze_body,
    measure_body,
    send_upload,
)


def select_body(**changes: object) -> bytes:
    model = [np.array([3, 4]), np.array([1, 0, 0, 0, 2, 3])]
    widths, payload = encode_counts(model)
    request = {
        "round": 1,
        "candidates": [0, 3],
        "selection_epsilon": "1/2",
        "biases": [1, 2],
        "widths": widths,
    }
    return pack({**request, **changes}, payload)


class MakeJob(Protocol):
    """Makes a job in a fresh folder, its uploads done and frozen."""

    async def __call__(
        self, engine: ScriptedEngine, rho: str = "1", *, freeze: bool = True
    ) -> PartyJob: ...


@pytest.fixture
def fresh(world: World, tmp_path: Path) -> Iterator[MakeJob]:
    jobs: list[PartyJob] = []

    async def make(engine: ScriptedEngine, rho: str = "1", *, freeze: bool = True) -> PartyJob:
        world.rho = rho
        job = world.job(site=tmp_path / str(len(jobs)))
        jobs.append(job)
        await job.connected(engine)
        await send_upload(job, "ann", bytes(BODY_SIZE))
        if freeze:
            assert await job.freeze(freeze_body(ann=UPLOAD)) == b"{}"
        return job

    yield make
    for job in jobs:
        job.close()


def test_select_is_checked_agreed_charged_then_run(fresh: MakeJob) -> None:
    async def scenario() -> None:
        engine = ScriptedEngine()
        job = await fresh(engine)
        heads = [job.record.ledger.head]
        answer = parse(SelectAnswer, await job.select("select-1", select_body()))
        assert answer.index == 0
        assert job.record.ledger.spent == Fraction(1, 32)
        # weights: "a" is in 2 of 3 cliques; "ab" shares 2 + 1 + 1 attributes with W
        factors = [2**24 * 2 // (2 * 4 * 2), 2**24 // 4]
        assert engine.calls[-1] == ("select", "select-1", [0, 3], factors, [1, 2])
        preimage = b"distaim/request/v1\0select\0" + select_body()
        sha = hashlib.sha256(preimage).hexdigest()
        label, agreed = engine.agreed[-1]
        assert label == "select-1"
        assert list(agreed.values()) == [f"{job.manifest.digest} {sha}".encode(), heads[0].encode()]

    asyncio.run(scenario())


def test_the_charge_is_on_disk_before_the_engine_runs(fresh: MakeJob) -> None:
    async def scenario() -> None:
        engine = ScriptedEngine(PeerLost("the connection to party 2 is lost", 2))
        job = await fresh(engine)
        with pytest.raises(PeerLost):
            await job.select("select-1", select_body())
        assert job.record.ledger.spent == Fraction(1, 32)
        assert job.state == "failed"
        assert job.ended.is_set()
        with pytest.raises(PeerLost):  # a failed job says why it failed
            await job.measure("measure-1", measure_body())

    asyncio.run(scenario())


def test_repeated_request_gets_the_stored_answer_another_is_refused(fresh: MakeJob) -> None:
    async def scenario() -> None:
        engine = ScriptedEngine()
        job = await fresh(engine)
        both = await asyncio.gather(
            job.measure("measure-1", measure_body()), job.measure("measure-1", measure_body())
        )
        assert both[0] == both[1]
        assert np.array_equal(decode_marginals(both[0], [3])[0], np.zeros(3))
        assert sum(call[0] == "measure" for call in engine.calls) == 1
        assert job.record.ledger.spent == Fraction(1, 8)
        with pytest.raises(RequestConflict):
            await job.measure("measure-1", measure_body(sigma2="5"))
        with pytest.raises(RequestConflict):
            await job.select("measure-1", measure_body())

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "body",
    [
        select_body(candidates=[0, 6]),
        select_body(selection_epsilon="65"),
        select_body(selection_epsilon="0"),
        select_body(biases=[1]),
        select_body(widths=[1]),
        select_body(round=2**20),
        select_body(selection_epsilon=f"{10**300 + 7}/{10**300 + 9}"),
        b"\0\0",
    ],
)
def test_bad_selections_cost_nothing_and_keep_the_id_free(fresh: MakeJob, body: bytes) -> None:
    async def scenario() -> None:
        job = await fresh(ScriptedEngine())
        with pytest.raises(RequestRefused):
            await job.select("select-1", body)
        assert job.record.ledger.spent == 0
        await job.select("select-1", select_body())

    asyncio.run(scenario())


LONG = f"{9 * 10**399 + 7}/{9 * 10**399 + 11}"
"""A variance whose cost takes more digits than a ledger writes."""


@pytest.mark.parametrize(
    "body",
    [
        measure_body(sigma2="1001"),
        measure_body(sigma2="0"),
        measure_body(sigma2=LONG),
        measure_body(2**53),  # it could be charged, but not written into a transcript
        measure_body(-1),
        b"[]",
    ],
)
def test_bad_measurements_are_refused(fresh: MakeJob, body: bytes) -> None:
    async def scenario() -> None:
        job = await fresh(ScriptedEngine())
        with pytest.raises(RequestRefused):
            await job.measure("measure-1", body)
        assert job.record.ledger.spent == 0

    asyncio.run(scenario())


def test_overspending_is_refused_and_the_engine_not_asked(fresh: MakeJob) -> None:
    async def scenario() -> None:
        engine = ScriptedEngine()
        job = await fresh(engine, rho="1/5")
        await job.measure("measure-1", measure_body())
        n_calls = len(engine.calls)
        with pytest.raises(BudgetExceeded):
            await job.measure("measure-2", measure_body(round_number=2))
        assert len(engine.calls) == n_calls
        assert job.state == "running"

    asyncio.run(scenario())


def test_a_charge_names_its_delta_and_draws_are_bounded(fresh: MakeJob) -> None:
    async def scenario() -> None:
        engine = ScriptedEngine()
        job = await fresh(engine)
        await job.select("select-1", select_body())
        await job.measure("measure-1", measure_body(candidates=(0, 1)))
        deltas = [Fraction(charge.delta) for charge in job.record.ledger.charges]
        assert deltas == [2 * PER_CANDIDATE, 2 * PER_MARGINAL]
        n_calls = len(engine.calls)
        with pytest.raises(BudgetExceeded, match="noise"):  # three marginals are all there are
            await job.measure("measure-2", measure_body(sigma2="1000"))
        assert len(engine.calls) == n_calls

    asyncio.run(scenario())


def test_freeze_needs_known_uploads_and_closes_the_door(fresh: MakeJob) -> None:
    async def scenario() -> None:
        job = await fresh(ScriptedEngine(), freeze=False)
        refused: list[dict[str, str]] = [{}, {"zoe": UPLOAD}, {"ann": "b" * 64}, {"bob": UPLOAD}]
        for uploads in refused:
            with pytest.raises(RequestRefused):
                await job.freeze(freeze_body(**uploads))
        with pytest.raises(RequestRefused, match="collecting"):
            await job.select("select-1", select_body())
        await job.freeze(freeze_body(ann=UPLOAD))
        with pytest.raises(UploadRefused, match="no more"):
            await send_upload(job, "bob", bytes(BODY_SIZE))

    asyncio.run(scenario())


def test_uploads_are_taken_once(fresh: MakeJob) -> None:
    async def scenario() -> None:
        job = await fresh(ScriptedEngine(), freeze=False)
        first = job.record.uploads.receipts["ann"]
        assert await send_upload(job, "ann", bytes(BODY_SIZE)) == first
        with pytest.raises(UploadRefused, match="something else"):
            await send_upload(job, "ann", b"x" * BODY_SIZE)
        with pytest.raises(UploadRefused, match="bytes"):
            await send_upload(job, "bob", bytes(BODY_SIZE - 1))
        assert set(job.record.uploads.receipts) == {"ann"}
        assert not list(job.record.uploads.path("ann").parent.glob("*.part"))

    asyncio.run(scenario())


def test_finish_reports_costs_and_ends(fresh: MakeJob) -> None:
    async def scenario() -> None:
        engine = ScriptedEngine()
        job = await fresh(engine)
        await job.measure("measure-1", measure_body())
        answer = json.loads(await job.finish(b"{}"))
        assert answer["rho_spent"] == "1/8"
        assert answer["steps"]["step"]["bytes_sent"] == 30
        assert engine.calls[-1] == ("finish",)
        assert answer["peak_rss_mb"] > 1
        assert job.state == "done"
        with pytest.raises(RequestRefused, match="done"):
            await job.select("select-9", select_body())

    asyncio.run(scenario())

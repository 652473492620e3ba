"""A party that loses its peers or its process and goes on; the engine is scripted."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from mpc.arrays import Integers
from mpc.errors import EncodingOverflow, MpcError, PeerLost, PeerTimeout, ProtocolViolation
from parties.errors import (
    ChargeLost,
    InputsRefused,
    NotReady,
    RequestConflict,
    StateError,
    UploadRefused,
)
from parties.party.job import PartyJob
from parties.party.state.recovery import Claim, may_come_back, merged
from parties.wire.messages import LedgerEntry
from tests.support.party_world import (
    BODY_SIZE,
    UPLOAD,
    ScriptedEngine,
    World,
    freeze_body,
    measure_body,
    send_upload,
)

SHA = "cd" * 32
FREEZE = freeze_body(ann=UPLOAD)
LOST = PeerLost("the connection to party 2 is lost", 2)


class BreakingEngine(ScriptedEngine):
    """Breaks off in its n-th measurement."""

    def __init__(self, breaks_at: int = 1) -> None:
        super().__init__()
        self.breaks_at = breaks_at

    async def measure(
        self, label: str, candidates: Sequence[int], sigma2: Fraction
    ) -> list[Integers]:
        self.breaks_at -= 1
        if self.breaks_at == 0:
            raise LOST
        return await super().measure(label, candidates, sigma2)


@pytest.fixture(scope="module")
def rich_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return a consortium whose budget pays for several measurements."""
    return World(tmp_path_factory.mktemp("world"), rho="1")


class Site:
    """One party's disk; `job` starts its process anew."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder
        self.jobs: list[PartyJob] = []

    def job(self) -> PartyJob:
        if self.jobs:
            self.jobs[-1].close()
        self.jobs.append(self._world.job(reconnect_seconds=60, site=self._folder))
        return self.jobs[-1]

    async def frozen(self, engine: ScriptedEngine) -> PartyJob:
        job = self.job()
        await job.connected(engine)
        await send_upload(job, "ann", bytes(BODY_SIZE))
        await job.freeze(FREEZE)
        return job

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.jobs[-1].record.transcript.entries]


@pytest.fixture
def site(rich_world: World, tmp_path: Path) -> Iterator[Site]:
    made = Site(rich_world, tmp_path)
    yield made
    made.jobs[-1].close()


def test_a_lost_peer_leaves_the_job_waiting_and_the_charge_spent(site: Site) -> None:
    async def scenario() -> None:
        job = await site.frozen(BreakingEngine())
        with pytest.raises(PeerLost):
            await job.measure("measure-1", measure_body())
        assert job.state == "running"
        assert not job.ended.is_set()
        job.disconnected()
        assert job.state == "connecting"
        with pytest.raises(NotReady):
            await job.measure("measure-2", measure_body(round_number=2))
        with pytest.raises(UploadRefused, match="no more"):
            await send_upload(job, "bob", bytes(BODY_SIZE))
        engine = ScriptedEngine()
        await job.connected(engine)
        assert engine.calls == [("load", ["ann.share"])]
        with pytest.raises(ChargeLost, match="new id"):
            await job.measure("measure-1", measure_body())
        with pytest.raises(RequestConflict):
            await job.measure("measure-1", measure_body(sigma2="5"))
        assert job.record.ledger.spent == Fraction(1, 8)
        await job.measure("measure-1-2", measure_body())
        assert job.record.ledger.spent == Fraction(1, 4)
        resumed = next(e for e in job.record.transcript.entries if e["event"] == "resumed")
        assert (resumed["lost"], resumed["charges"]) == (["measure-1"], [])

    asyncio.run(scenario())


def test_a_restarted_process_repeats_its_answers_and_goes_on(site: Site) -> None:
    async def scenario() -> None:
        job = await site.frozen(ScriptedEngine())
        answer = await job.measure("measure-1", measure_body())
        costs = job.costs()
        head = job.record.ledger.head

        job, engine = site.job(), ScriptedEngine()
        assert job.state == "connecting"
        assert await job.measure("measure-1", measure_body()) == answer  # even without its peers
        await job.connected(engine)
        assert (job.state, job.round, job.record.ledger.head) == ("running", 1, head)
        assert engine.calls == [("load", ["ann.share"])]
        assert await job.freeze(FREEZE) == b"{}"
        assert await job.measure("measure-1", measure_body()) == answer
        with pytest.raises(RequestConflict):
            await job.measure("measure-1", measure_body(sigma2="5"))
        assert len(engine.calls) == 1
        assert job.costs()["step"].rounds == costs["step"].rounds + 1
        finish = await job.finish(b"{}")

        job = site.job()
        assert job.state == "done"
        assert await job.finish(b"{}") == finish
        assert site.events().count("finish") == 1

    asyncio.run(scenario())


def test_a_process_killed_after_the_charge_has_lost_the_request(site: Site) -> None:
    async def scenario() -> None:
        job = await site.frozen(ScriptedEngine())
        entry = LedgerEntry(request="measure-1", sha256=SHA, rho="1/8", delta="0")
        job.record.charge(entry, 1)  # killed here: no line in the transcript, no answer

        job = site.job()
        await job.connected(ScriptedEngine())
        resumed = job.record.transcript.entries[-1]
        assert resumed["event"] == "resumed"
        assert [charge["request"] for charge in resumed["charges"]] == ["measure-1"]
        assert resumed["lost"] == ["measure-1"]
        job.disconnected()
        await job.connected(ScriptedEngine())
        assert job.record.transcript.entries[-1]["lost"] == []  # told once

    asyncio.run(scenario())


def test_a_charge_of_a_peer_is_booked_here_too(site: Site) -> None:
    async def scenario() -> None:
        job = await site.frozen(ScriptedEngine())
        ours = job.record.claim()
        entry = LedgerEntry(request="measure-1", sha256=SHA, rho="1/8", delta="0")
        theirs = ours.model_copy(update={"charges": [entry]})
        job.disconnected()
        engine = ScriptedEngine()
        engine.said = {1: theirs.model_dump_json().encode(), 2: ours.model_dump_json().encode()}
        await job.connected(engine)
        assert job.record.ledger.spent == Fraction(1, 8)
        assert job.record.ledger.charges == [entry]
        assert job.record.transcript.entries[-1]["lost"] == ["measure-1"]

    asyncio.run(scenario())


def test_the_freeze_of_the_peers_is_taken_over(site: Site) -> None:
    async def scenario() -> None:
        job = site.job()
        await send_upload(job, "ann", bytes(BODY_SIZE))
        peer = Claim(inputs={"ann": UPLOAD}, freeze=SHA, charges=[], finish=None)
        engine = ScriptedEngine()
        engine.said = {1: peer.model_dump_json().encode(), 2: peer.model_dump_json().encode()}
        await job.connected(engine)
        assert job.state == "frozen"
        assert engine.calls == [("load", ["ann.share"])]
        assert site.events() == ["begin", "freeze", "loaded"]
        assert await job.freeze(FREEZE) == b"{}"

    asyncio.run(scenario())


def test_an_upload_that_is_gone_names_this_party(site: Site) -> None:
    async def scenario() -> None:
        job = site.job()
        peer = Claim(inputs={"ann": UPLOAD}, freeze=SHA, charges=[], finish=None)
        engine = ScriptedEngine()
        engine.said = {1: peer.model_dump_json().encode(), 2: peer.model_dump_json().encode()}
        with pytest.raises(ProtocolViolation, match="upload of ann") as caught:
            await job.connected(engine)
        assert caught.value.party == 0

    asyncio.run(scenario())


def test_the_end_that_a_party_missed_is_learnt_from_its_peers(site: Site) -> None:
    async def scenario() -> None:
        job = await site.frozen(ScriptedEngine())
        job.disconnected()
        done = job.record.claim().model_copy(update={"finish": SHA})
        engine = ScriptedEngine()
        engine.said = {pid: done.model_dump_json().encode() for pid in (1, 2)}
        await job.connected(engine)
        assert job.state == "done"
        assert job.ended.is_set()
        assert site.events()[-1] == "finish"

    asyncio.run(scenario())


def test_refused_inputs_are_refused_for_good(site: Site) -> None:
    class Refusing(ScriptedEngine):
        async def load(self, uploads: Mapping[str, Path]) -> None:
            raise InputsRefused("the shares of ann are not counts")

    async def scenario() -> None:
        with pytest.raises(InputsRefused):
            await site.frozen(Refusing())
        job = site.job()
        refusal = job.record.refusal()
        assert refusal is not None
        assert "ann" in str(refusal)

    asyncio.run(scenario())


def test_an_unknown_phase_is_never_taken_for_another(site: Site) -> None:
    async def scenario() -> None:
        await site.frozen(ScriptedEngine())

    asyncio.run(scenario())
    site.jobs[-1].record._store.set_facts({"phase": "paused"})
    with pytest.raises(StateError, match=r"job\.sqlite .* 'paused'"):
        site.job()


def test_garbage_from_a_peer_names_it(site: Site) -> None:
    async def scenario() -> None:
        engine = ScriptedEngine()
        engine.said = {2: b'{"inputs": 7}'}
        job = site.job()
        with pytest.raises(ProtocolViolation) as caught:
            await job.connected(engine)
        assert caught.value.party == 2

    asyncio.run(scenario())


def charges(*requests: str) -> list[LedgerEntry]:
    return [LedgerEntry(request=r, sha256=SHA, rho="1/9", delta="0") for r in requests]


def claim(*requests: str, frozen: str | None = UPLOAD) -> Claim:
    inputs = None if frozen is None else {"ann": frozen}
    return Claim(inputs=inputs, freeze=frozen and SHA, charges=charges(*requests), finish=None)


def test_ledgers_that_differ_by_the_last_charge_become_the_longest() -> None:
    for ahead in range(3):
        claims = {pid: claim("a", "b", *(["c"] if pid == ahead else [])) for pid in range(3)}
        assert [e.request for e in merged(claims).charges] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("claims", "party", "text"),
    [
        ((claim("a", "b", "c"), claim("a"), claim("a", "b", "c")), 1, "rolled back"),
        ((claim("a", "b", "c"), claim("a", "b"), claim()), 2, "0 of 3"),
        ((claim("a", "b"), claim("a", "x"), claim("a", "b")), 1, "entry 2"),
        ((claim("x", "b"), claim("a", "b"), claim("a", "b")), 0, "entry 1"),
        ((claim("a"), claim("a", "b", "c", "d"), claim("a")), 1, "most of its peers"),
        ((claim("a"), claim(frozen=None), claim("a")), 1, "lost"),
        ((claim(), claim(), claim(frozen="b" * 64)), 2, "other inputs"),
    ],
)
def test_a_ledger_that_was_changed_is_named(claims: Sequence[Claim], party: int, text: str) -> None:
    for order in ([0, 1, 2], [2, 0, 1]):
        with pytest.raises(ProtocolViolation, match=text) as caught:
            merged({pid: claims[pid] for pid in order})
        assert caught.value.party == party


def test_only_what_may_pass_is_waited_for() -> None:
    assert all(map(may_come_back, [LOST, PeerTimeout("silent", 1), MpcError("stopped", 1)]))
    stop = [ProtocolViolation("x"), EncodingOverflow("x"), InputsRefused("x"), OSError("full")]
    assert not any(map(may_come_back, stop))

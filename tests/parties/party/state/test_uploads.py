"""Uploads at a compute party: what is kept of one that breaks, what is refused, what is dropped."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parties.errors import StateError, UploadBroken, UploadRefused
from parties.party.job import PartyJob
from parties.party.state.uploads import UploadPart
from tests.support.party_world import BODY_SIZE, UPLOAD, World, send_upload

DATA = bytes(range(BODY_SIZE))
OTHER = "b" * 64


class CutOff(Exception):
    """The connection broke."""


async def cut(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 7):
        yield data[start : start + 7]
    raise CutOff


async def whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


def part(offset: int = 0, upload: str = UPLOAD, data: bytes = DATA) -> UploadPart:
    return UploadPart(upload, hashlib.sha256(data).hexdigest(), offset)


def start(world: World, folder: Path) -> PartyJob:
    return world.job(site=folder)


@pytest.fixture
def job(world: World, tmp_path: Path) -> Iterator[PartyJob]:
    made = start(world, tmp_path)
    yield made
    made.close()


async def break_off(job: PartyJob, n_bytes: int, offset: int = 0, upload: str = UPLOAD) -> None:
    with pytest.raises(CutOff):
        await job.upload("ann", part(offset, upload), cut(DATA[offset:n_bytes]))


def parts(job: PartyJob) -> list[Path]:
    return list(job.record.uploads.path("ann").parent.glob("*.part"))


async def n_received(job: PartyJob, upload: str = UPLOAD) -> int:
    return (await job.received("ann", upload)).n_bytes


def test_what_has_arrived_outlives_the_process(world: World, tmp_path: Path) -> None:
    async def scenario() -> None:
        job = start(world, tmp_path)
        assert await n_received(job) == 0
        await break_off(job, 40)
        assert await n_received(job) == 40
        job.close()
        job = start(world, tmp_path)
        assert await n_received(job) == 40
        receipt = await job.upload("ann", part(40), whole(DATA[40:]))
        assert receipt.sha256 == hashlib.sha256(DATA).hexdigest()
        assert job.record.uploads.path("ann").read_bytes() == DATA
        assert job.record.uploads.path("ann").stat().st_mode & 0o777 == 0o600
        assert await n_received(job) == BODY_SIZE
        assert await job.upload("ann", part(BODY_SIZE), whole(b"")) == receipt
        assert not parts(job)
        job.close()

    asyncio.run(scenario())


@settings(max_examples=25)
@given(cuts=st.lists(st.tuples(st.integers(0, BODY_SIZE), st.integers(0, BODY_SIZE)), max_size=5))
def test_any_sequence_of_breaks_ends_with_the_whole_body(
    world: World, tmp_path_factory: pytest.TempPathFactory, cuts: Sequence[tuple[int, int]]
) -> None:
    async def scenario() -> None:
        job = start(world, tmp_path_factory.mktemp("site"))
        for offset, end in cuts:
            have = await n_received(job)
            if offset > have:
                with pytest.raises(UploadBroken):
                    await job.upload("ann", part(offset), whole(DATA[offset:]))
            else:
                await break_off(job, max(offset, end), offset)
                have = max(offset, end)
            assert await n_received(job) == have
            assert len(parts(job)) <= 1
        have = await n_received(job)
        await job.upload("ann", part(have), whole(DATA[have:]))
        assert job.record.uploads.path("ann").read_bytes() == DATA
        job.close()

    asyncio.run(scenario())


def test_a_part_that_does_not_fit_is_dropped_and_sent_anew(job: PartyJob) -> None:
    async def scenario() -> None:
        await break_off(job, 40)
        with pytest.raises(UploadBroken, match="not what was sent"):
            await job.upload("ann", part(40), whole(bytes(BODY_SIZE - 40)))
        assert await n_received(job) == 0
        assert not parts(job)
        assert job.record.uploads.receipts == {}
        await send_upload(job, "ann", DATA)

    asyncio.run(scenario())


@pytest.mark.parametrize(("by", "word"), [(1, "longer"), (-1, "shorter")])
def test_a_body_of_another_length_is_refused(job: PartyJob, by: int, word: str) -> None:
    async def scenario() -> None:
        await break_off(job, 40)
        with pytest.raises(UploadRefused, match=word):
            await job.upload("ann", part(40), whole(bytes(BODY_SIZE + by - 40)))
        assert not parts(job)
        assert job.record.uploads.receipts == {}

    asyncio.run(scenario())


def test_another_upload_replaces_a_part_but_not_a_receipt(job: PartyJob) -> None:
    async def scenario() -> None:
        await break_off(job, 40)
        assert await n_received(job, OTHER) == 0
        with pytest.raises(UploadBroken):  # a wrong place drops nothing
            await job.upload("ann", part(1, OTHER), whole(DATA[1:]))
        assert await n_received(job) == 40
        await break_off(job, 10, upload=OTHER)
        assert len(parts(job)) == 1
        assert (await n_received(job), await n_received(job, OTHER)) == (0, 10)
        await send_upload(job, "ann", DATA)
        assert not parts(job)
        for refused in (part(0, OTHER), part(data=b"else")):
            with pytest.raises(UploadRefused, match="something else"):
                await job.upload("ann", refused, whole(DATA))
        with pytest.raises(UploadRefused, match="something else"):
            await job.received("ann", OTHER)
        assert job.record.uploads.path("ann").read_bytes() == DATA

    asyncio.run(scenario())


def test_parts_of_holders_with_similar_names_are_their_own(job: PartyJob) -> None:
    async def scenario() -> None:
        with pytest.raises(CutOff):
            await job.upload(f"ann.{OTHER}", part(), cut(DATA[:20]))
        await break_off(job, 40)
        assert (await job.received(f"ann.{OTHER}", UPLOAD)).n_bytes == 20

    asyncio.run(scenario())


def test_a_newer_attempt_ends_an_older_one_that_hangs(job: PartyJob) -> None:
    async def scenario() -> None:
        late = asyncio.Event()

        async def hanging() -> AsyncIterator[bytes]:
            yield DATA[:30]
            await late.wait()
            yield b"x" * (BODY_SIZE - 30)

        older = asyncio.create_task(job.upload("ann", part(), hanging()))
        while await n_received(job) < 30:
            await asyncio.sleep(0)
        receipt = await job.upload("ann", part(20), whole(DATA[20:]))
        late.set()
        with pytest.raises(UploadRefused, match="begun to upload again"):
            await older
        assert job.record.uploads.path("ann").read_bytes() == DATA
        assert job.record.uploads.receipts == {"ann": receipt}

    asyncio.run(scenario())


def test_a_frozen_job_says_that_it_takes_no_more(job: PartyJob) -> None:
    async def scenario() -> None:
        job.record.inputs = {"ann": UPLOAD}
        with pytest.raises(UploadRefused, match="no more"):
            await job.received("ann", UPLOAD)

    asyncio.run(scenario())


def test_a_disk_that_cannot_be_written_is_named(job: PartyJob) -> None:
    shutil.rmtree(job.record.uploads.path("ann").parent)
    with pytest.raises(StateError, match="cannot be written"):
        asyncio.run(send_upload(job, "ann", DATA))

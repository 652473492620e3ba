"""Parties as processes of this machine: what they answer, and what becomes of those that do not."""

import asyncio
import multiprocessing

import pytest

from mpc.session.session import Session
from parties.errors import JobFailed
from parties.local.party_processes import run_local_parties


async def greet(session: Session, word: str) -> str:
    return f"{word} {session.pid}"


async def stay(_session: Session, _argument: None) -> None:
    await asyncio.sleep(3600)


async def fail(_session: Session, text: str) -> None:
    raise ValueError(text)


def test_every_party_answers_in_its_place() -> None:
    assert run_local_parties(3, 1, greet, "party", 60) == ["party 0", "party 1", "party 2"]


def test_parties_that_stay_are_ended_and_named() -> None:
    with pytest.raises(JobFailed, match=r"parties \[0, 1, 2\] did not end within 0 s"):
        run_local_parties(3, 1, stay, None, 0.1)
    assert multiprocessing.active_children() == []


def test_a_party_that_fails_ends_the_others() -> None:
    with pytest.raises(JobFailed, match="failed: ValueError: no"):
        run_local_parties(3, 1, fail, "no", 60)
    assert multiprocessing.active_children() == []

"""Programs that the parties of the MPyC tests run, each in a process of its own."""

import asyncio
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc.mpyc_engine.runtime import ShamirRuntime, StrictCodec, mpyc, start_runtime
from mpc.session.session import Session
from tests.support.programs.scripted_noise import Opened, job_program

OBSERVER = 0
Rows = list[list[int]]
"""The shares of an opening: per party its point, then its share of every element."""


@dataclass(frozen=True)
class ZeroTests:
    """Whose zero tests run, MPyC's own or ours, and on which secrets; the first ones also alone."""

    stock: bool
    secrets: list[int]
    n_single: int


@dataclass(frozen=True)
class Observed:
    """What one party saw: its shares of the secrets, and what was opened to it, per call."""

    order: int
    shares: list[int]
    of_arrays: dict[str, Rows]
    of_elements: list[Rows]


class OpenedShares:
    """Records every set of shares from which this party recombines an opening of degree 2 t."""

    def __init__(self, n_parties: int) -> None:
        self.n_parties = n_parties
        self.seen: list[Rows] = []

    def wrap(self, recombine: Callable[..., Any]) -> Callable[..., Any]:
        def recording(field: Any, points: Iterable[tuple[Any, Any]], *args: Any) -> Any:
            points = list(points)
            if len(points) == self.n_parties:
                self.seen.append([[int(x), *_integers(values)] for x, values in points])
            return recombine(field, points, *args)

        return recording


def _integers(values: Any) -> list[int]:
    """Return MPyC's field elements, of an array or a list, as integers."""
    values = getattr(values, "value", values)
    return [int(getattr(v, "value", v)) for v in values]


async def zero_test_program(session: Session, request: ZeroTests) -> Observed | None:
    """Run the three calls on party 1's secrets; return what the observer saw and its shares."""
    runtime, secint = start_runtime(session, 66)
    if request.stock:
        del ShamirRuntime.output  # MPyC's own method is inherited again
    opened = OpenedShares(session.access.n_parties)
    for name in ("recombine", "np_recombine"):
        setattr(mpyc.thresha, name, opened.wrap(getattr(mpyc.thresha, name)))
    values = np.array(request.secrets, object)
    if session.pid != 1:
        values = np.zeros_like(values)
    array = runtime.input(secint.array(values), senders=1)
    shares = _integers(await runtime.gather(array))
    of_arrays, of_elements = {}, []
    for call in ("np_is_zero_public", "np_reciprocal"):
        opened.seen.clear()
        await runtime.gather(getattr(runtime, call)(array))
        of_arrays[call] = opened.seen[0]
    for share in shares[: request.n_single]:
        opened.seen.clear()
        await runtime.is_zero_public(secint(secint.field(share)))
        of_elements.append(opened.seen[0])
    if session.pid != OBSERVER:
        return None
    return Observed(int(secint.field.order), shares, of_arrays, of_elements)


def _refuse(*_args: object, **_kwargs: object) -> None:
    raise AssertionError("pickle was called")


async def no_pickle_program(session: Session, engine: str) -> Opened:
    """Run a whole job while pickle refuses to work in this process."""
    for name in ("loads", "dumps", "load", "dump"):
        setattr(pickle, name, _refuse)
    return await job_program(session, engine)


class Payload:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


async def malicious_program(session: Session, marker: Path) -> str:
    """Party 2 sends a pickle wherever an array is due; say how the others end."""
    runtime, secint = start_runtime(session, 66)
    if session.pid == 2:
        evil = pickle.dumps(Payload(marker))
        pytest.MonkeyPatch().setattr(StrictCodec, "dumps", lambda self, values: evil)
    array = runtime.input(secint.array(np.array([1, 2], object)), senders=2)
    opened = asyncio.ensure_future(runtime.output(array))
    failure = session.network.failure
    await asyncio.wait({opened, failure}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    return repr(failure.result()) if failure.done() else "opened"

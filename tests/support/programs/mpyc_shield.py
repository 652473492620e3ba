"""Programs that the parties of the MPyC tests run, each in a process of its own."""

import asyncio
import pickle
from pathlib import Path

import numpy as np

from mpc.mpyc_engine.runtime import ShamirRuntime, StrictCodec, mpyc, start_runtime
from mpc.session.session import Session
from tests.support.programs.scripted_noise import job_program

OBSERVER = 0


class OpenedShares:
    """Records every set of shares from which this party recombines an opening of degree 2 t."""

    def __init__(self, n_parties: int) -> None:
        self.n_parties = n_parties
        self.seen = []

    def wrap(self, recombine):
        def recording(field, points, *args):
            points = list(points)
            if len(points) == self.n_parties:
                rows = [[int(x), *_integers(values)] for x, values in points]
                self.seen.append(rows)
            return recombine(field, points, *args)

        return recording


def _integers(values):
    values = getattr(values, "value", values)
    return [int(getattr(v, "value", v)) for v in values]


async def zero_test_program(session: Session, argument):
    """Run the three calls on party 1's secrets; return what the observer saw and its shares."""
    runtime, secint = start_runtime(session, 66)
    if argument["stock"]:
        del ShamirRuntime.output  # MPyC's own method is inherited again
    opened = OpenedShares(session.access.n_parties)
    for name in ("recombine", "np_recombine"):
        setattr(mpyc.thresha, name, opened.wrap(getattr(mpyc.thresha, name)))
    values = np.array(argument["secrets"], object)
    if session.pid != 1:
        values = np.zeros_like(values)
    array = runtime.input(secint.array(values), senders=1)
    shares = _integers(await runtime.gather(array))
    reports = {}
    for call in ("np_is_zero_public", "np_reciprocal"):
        opened.seen.clear()
        await runtime.gather(getattr(runtime, call)(array))
        reports[call] = opened.seen[0]
    reports["is_zero_public"] = []
    for i in range(argument["n_single"]):
        opened.seen.clear()
        element = secint(secint.field(shares[i]))
        await runtime.is_zero_public(element)
        reports["is_zero_public"].append(opened.seen[0])
    mine = session.pid == OBSERVER
    order = int(secint.field.order)
    return {"order": order, "shares": shares, "opened": reports} if mine else None


def _refuse(*_args, **_kwargs) -> None:
    raise AssertionError("pickle was called")


async def no_pickle_program(session: Session, argument):
    """Run a whole job while pickle refuses to work in this process."""
    pickle.loads = pickle.dumps = pickle.load = pickle.dump = _refuse
    return await job_program(session, argument)


class Payload:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


async def malicious_program(session: Session, argument):
    """Party 2 sends a pickle wherever an array is due; say how the others end."""
    runtime, secint = start_runtime(session, 66)
    if session.pid == 2:
        evil = pickle.dumps(Payload(argument["marker"]))
        StrictCodec.dumps = lambda self, values: evil
    array = runtime.input(secint.array(np.array([1, 2], object)), senders=2)
    opened = asyncio.ensure_future(runtime.output(array))
    failure = session.network.failure
    await asyncio.wait({opened, failure}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    return repr(failure.result()) if failure.done() else "opened"

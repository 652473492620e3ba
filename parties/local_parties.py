"""All compute parties of a session as processes on this machine, over mutual TLS on loopback.

Benchmarks and tests use it to run one program at every party with throw-away certificates.
"""

import asyncio
import multiprocessing
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from mpc.session import Session, open_session
from mpc.transport import Credentials, Endpoint
from parties.certificates import make_identity
from parties.errors import JobFailed
from parties.ports import LOOPBACK, free_ports

Program = Callable[[Session, Any], Awaitable[Any]]


def _party_main(
    pid: int,
    threshold: int,
    endpoints: Sequence[Endpoint],
    credentials: Credentials,
    program: Program,
    argument: Any,
    results: "Queue[tuple[int, Any, str | None]]",
) -> None:
    async def main() -> Any:
        bind = (endpoints[pid].host, endpoints[pid].port)
        session = await open_session(pid, threshold, endpoints, credentials, bind, {"run": "local"})
        result = await program(session, argument)
        await session.close()
        return result

    try:
        results.put((pid, asyncio.run(main()), None))
    except Exception as error:  # noqa: BLE001 - reported to the parent, whatever it is
        results.put((pid, None, f"{type(error).__name__}: {error}"))


def run_local_parties(
    n_parties: int, threshold: int, program: Program, argument: Any, seconds: float
) -> list[Any]:
    """Run ``program(session, argument)`` at every party; return the results by party.

    Args:
        program: a module-level coroutine function.
        argument: passed to every party.
        seconds: deadline for the whole; the processes are ended then.

    Raises:
        JobFailed: a party failed (its error is in the text) or the deadline passed.
    """
    context = multiprocessing.get_context("spawn")
    results: Queue[tuple[int, Any, str | None]] = context.Queue()
    with tempfile.TemporaryDirectory() as directory:
        made = [make_identity(f"party-{p}", Path(directory)) for p in range(n_parties)]
        endpoints = [
            Endpoint(p, LOOPBACK, port, made[p].certificate.encode())
            for p, port in enumerate(free_ports(n_parties))
        ]
        processes = [
            context.Process(
                target=_party_main,
                args=(
                    p,
                    threshold,
                    endpoints,
                    made[p].credentials,
                    program,
                    argument,
                    results,
                ),
                daemon=True,
            )
            for p in range(n_parties)
        ]
        for process in processes:
            process.start()
        answers: dict[int, Any] = {}
        try:
            while len(answers) < n_parties:
                pid, answer, error = results.get(timeout=seconds)
                if error is not None:
                    raise JobFailed(f"party {pid} failed: {error}")
                answers[pid] = answer
        finally:
            for process in processes:
                process.join(timeout=5)
                process.kill()
    return [answers[p] for p in range(n_parties)]

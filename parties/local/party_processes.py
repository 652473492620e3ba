"""All compute parties of a session as processes on this machine, over mutual TLS on loopback.

Benchmarks and tests use it to run one program at every party with throw-away certificates.
"""

import asyncio
import multiprocessing
import queue
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, TypeAlias

from mpc.session.session import Session, open_session
from mpc.session.tls import Credentials, Endpoint
from parties.errors import JobFailed
from parties.identity.certificates import make_identity
from parties.local.ports import LOOPBACK, free_ports

Program = Callable[[Session, Any], Awaitable[Any]]
Results: TypeAlias = "Queue[tuple[int, Any, str | None]]"
"""The parties' answers or errors, each with the party's number."""

_END_SECONDS = 5.0
"""How long a party that has answered may take to end."""


def _party_main(
    pid: int,
    threshold: int,
    endpoints: Sequence[Endpoint],
    credentials: Credentials,
    program: Program,
    argument: Any,
    results: Results,
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
    """Run `program(session, argument)` at every party; return the results by party.

    `program` is a coroutine function of a module, as the parties import it. JobFailed if a party
    failed (its error is in the text) or `seconds` have passed for all of it.
    """
    context = multiprocessing.get_context("spawn")
    results: Results = context.Queue()
    with tempfile.TemporaryDirectory() as directory:
        made = [make_identity(f"party-{p}", Path(directory)) for p in range(n_parties)]
        endpoints = [
            Endpoint(p, LOOPBACK, port, made[p].certificate.encode())
            for p, port in enumerate(free_ports(n_parties))
        ]
        processes = []
        for pid, own in enumerate(made):
            arguments = (pid, threshold, endpoints, own.credentials, program, argument, results)
            processes.append(context.Process(target=_party_main, args=arguments, daemon=True))
        for process in processes:
            process.start()
        try:
            answers = _answers(results, n_parties, seconds)
            for process in processes:
                process.join(timeout=_END_SECONDS)
            return answers
        finally:
            for process in processes:
                process.kill()
                process.join()


def _answers(results: Results, n_parties: int, seconds: float) -> list[Any]:
    """Return what each party has answered; JobFailed for an error, or none within the time."""
    deadline = time.monotonic() + seconds
    answers: dict[int, Any] = {}
    while len(answers) < n_parties:
        try:
            pid, answer, error = results.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty as late:
            silent = sorted(set(range(n_parties)) - set(answers))
            raise JobFailed(f"parties {silent} did not end within {seconds:.0f} s") from late
        if error is not None:
            raise JobFailed(f"party {pid} failed: {error}")
        answers[pid] = answer
    return [answers[pid] for pid in range(n_parties)]

"""Every request is answered once: repeats get the same answer, at no cost."""

import asyncio
from collections.abc import Callable, Coroutine

from parties.errors import ChargeLost, RequestConflict
from parties.party.state.record import JobRecord
from parties.wire.messages import Request

Work = Callable[[Request], Coroutine[None, None, bytes]]


class Answered:
    """The answers of a job to its requests: under way, stored, in conflict, or lost."""

    def __init__(self, record: JobRecord, run: str) -> None:
        self._record, self._run = record, run
        self._under_way: dict[str, tuple[str, asyncio.Task[bytes]]] = {}

    async def once(self, request: Request, work: Work) -> bytes:
        """Return the answer to a request, made by `work` if there is none and none under way.

        Who asks may go away meanwhile; the work goes on. Raises what `work` does, RequestConflict
        if the id belongs to other contents, and ChargeLost for a request that was charged and
        broke off.
        """
        if request.id not in self._under_way:
            stored = self._stored(request)
            if stored is not None:
                return stored
            task = asyncio.create_task(work(request))
            self._under_way[request.id] = request.sha256, task
            task.add_done_callback(lambda _: self._under_way.pop(request.id))
        known, task = self._under_way[request.id]
        if known != request.sha256:
            raise self._conflict(request)
        return await asyncio.shield(task)

    def _stored(self, request: Request) -> bytes | None:
        """Return the answer to a request of before, None for a new one."""
        stored = self._record.request(request.id)
        if stored is None:
            return None
        if stored.sha256 != request.sha256:
            raise self._conflict(request)
        if stored.answer is None:
            raise ChargeLost(
                f"request {request.id} was charged and not finished; ask again under a new id, "
                "which is charged again",
                run=self._run,
                party=self._record.pid,
            )
        return stored.answer

    def _conflict(self, request: Request) -> RequestConflict:
        return RequestConflict(
            f"request {request.id} was made before with other contents; use a new id",
            run=self._run,
            party=self._record.pid,
        )

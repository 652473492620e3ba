"""A link between two sites that tests can slow down, silence, cut and damage."""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

_CHUNK = 1 << 14


class Relay:
    """Forwards TCP connections to a port, in a thread of its own, as a bad link would.

    `rate` is in bytes per second and direction of a connection; `delay` in seconds. The
    attributes may be changed while it runs: `silent` holds everything back and drops nothing,
    `damage` flips bits of that many chunks to come. `n_bytes` counts what was forwarded.
    """

    def __init__(self, port: int, target: int, rate: float = 1e9, delay: float = 0.0) -> None:
        self.rate, self.delay = rate, delay
        self.silent = False
        self.damage = 0
        self.n_bytes = 0
        self._port, self._target = port, target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        pumps: list[asyncio.Task[None]] = []
        with contextlib.suppress(OSError, asyncio.CancelledError):
            onward = await asyncio.open_connection("127.0.0.1", self._target)
            pumps += [
                asyncio.create_task(self._pump(reader, onward[1])),
                asyncio.create_task(self._pump(onward[0], writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when="FIRST_COMPLETED")
            finally:
                onward[1].close()
        writer.close()
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one direction until it ends: paced, then delayed, in order."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def read() -> None:
            with contextlib.suppress(OSError):  # a side was killed: the connection ends here
                while data := await reader.read(_CHUNK):
                    await asyncio.sleep(len(data) / self.rate)
                    await under_way.put((loop.time() + self.delay, data))
            await under_way.put((loop.time(), b""))

        reading = asyncio.create_task(read())
        try:
            while (arrival := await under_way.get())[1]:
                await self._deliver(writer, *arrival)
        finally:
            reading.cancel()

    async def _deliver(self, writer: asyncio.StreamWriter, due: float, data: bytes) -> None:
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        while self.silent:
            await asyncio.sleep(0.05)
        if self.damage > 0:
            self.damage -= 1
            data = bytes(byte ^ 0xFF for byte in data)
        with contextlib.suppress(OSError):
            writer.write(data)
            await writer.drain()
        self.n_bytes += len(data)

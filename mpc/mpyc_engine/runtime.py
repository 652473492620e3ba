"""MPyC behind a shield: the only module that imports it.

Stock MPyC 0.11 parses `sys.argv` and configures the root logger when imported, unpickles what
peers send, trusts the party id that a peer claims, and opens products of shares (of degree 2 t)
without a sharing of zero in its zero test and reciprocal, which reveals the factors. Here it is
imported without its set-up, runs over this project's transport, its arrays travel in a strict
format, and every opening of degree above t gets a fresh pseudo-random sharing of zero first.
"""

import argparse
import asyncio
import importlib
import logging
import os
import struct
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.errors import MpcError, ProtocolViolation
from mpc.session.frames import Kind
from mpc.session.keystream import expand_key
from mpc.session.session import Session

SECURITY_BITS = 64


def _import_mpyc() -> Any:
    """Import MPyC in a thread of its own, without the set-up that it runs on import.

    The set-up is left out where MPyC believes it is read for its documentation. In another
    thread the import cannot touch the event loop of the importing one. MPyC 0.11 uses names that
    NumPy 2 has deprecated.
    """
    saved_mode, saved_argv = os.environ.get("READTHEDOCS"), sys.argv
    saved_handlers = logging.getLogger().handlers[:]
    os.environ["READTHEDOCS"], sys.argv = "True", ["distaim"]
    try:
        with warnings.catch_warnings(), ThreadPoolExecutor(1) as executor:
            warnings.simplefilter("ignore", DeprecationWarning)
            executor.submit(importlib.import_module, "mpyc.runtime").result()
    finally:
        sys.argv = saved_argv
        logging.getLogger().handlers[:] = saved_handlers  # MPyC logs, which configures the root
        if saved_mode is None:
            del os.environ["READTHEDOCS"]
        else:
            os.environ["READTHEDOCS"] = saved_mode
    return sys.modules["mpyc"]


mpyc = _import_mpyc()
_HEADER = struct.Struct("<IH")


class _PeerBytes(bytes):
    """A payload that remembers which peer sent it."""

    peer: int


class StrictCodec:
    """Stands in for `pickle` in MPyC: arrays of field elements and nothing else.

    A message is count (4 bytes), bytes per element (2 bytes), elements in little endian. The
    element size is the field's, so that no length depends on a share.
    """

    def __init__(self, element_bytes: int) -> None:
        self._size = element_bytes

    def dumps(self, values: npt.NDArray[Any]) -> bytes:
        """Encode a one-dimensional array of field elements.

        Raises MpcError: anything else, such as an object for MPyC's `transfer`.
        """
        if not isinstance(values, np.ndarray) or values.ndim != 1:
            raise MpcError("only one-dimensional arrays of field elements are sent to peers")
        try:
            body = b"".join(int(value).to_bytes(self._size, "little") for value in values)
        except OverflowError as error:
            raise MpcError("an element of another field cannot be sent to peers") from error
        return _HEADER.pack(len(values), self._size) + body

    def loads(self, payload: bytes) -> npt.NDArray[np.object_]:
        """Decode what `dumps` encodes; ProtocolViolation, which names the peer, otherwise."""
        peer = payload.peer if isinstance(payload, _PeerBytes) else None
        if len(payload) < _HEADER.size:
            raise ProtocolViolation(f"party {peer} sent less than a header", peer)
        count, size = _HEADER.unpack_from(payload)
        if size != self._size or len(payload) != _HEADER.size + count * size:
            raise ProtocolViolation(f"party {peer} sent elements of another length", peer)
        result = np.empty(count, object)
        for i in range(count):
            start = _HEADER.size + i * size
            result[i] = int.from_bytes(payload[start : start + size], "little")
        return result


class _PeerProtocol:
    """What MPyC needs of a connection to a peer, on a link of this project's transport."""

    def __init__(self, session: Session, peer: int) -> None:
        self._link = session.network.links[peer]

    def send(self, program_counter: int, payload: bytes) -> None:
        """Send a payload labelled with MPyC's program counter."""
        self._link.send(Kind.MPYC, program_counter, payload)

    def receive(self, program_counter: int) -> asyncio.Future[bytes]:
        """Return the future payload with this label, marked with the peer."""
        arrived = self._link.receive(Kind.MPYC, program_counter)
        marked: asyncio.Future[bytes] = arrived.get_loop().create_future()

        def mark(future: asyncio.Future[bytes]) -> None:
            if not future.cancelled() and future.exception() is None and not marked.done():
                payload = _PeerBytes(future.result())
                payload.peer = self._link.peer
                marked.set_result(payload)

        arrived.add_done_callback(mark)
        return marked


class _Party:
    """A party as MPyC sees it."""

    def __init__(self, pid: int, protocol: _PeerProtocol | None) -> None:
        self.pid = pid
        self.protocol = protocol


_Runtime: Any = mpyc.runtime.Runtime


class ShamirRuntime(_Runtime):  # type: ignore[misc]  # MPyC has no type hints
    """MPyC's runtime over a session, with every opening of degree above t randomised."""

    def output(
        self, x: Any, receivers: Any = None, threshold: int | None = None, raw: bool = False
    ) -> Any:
        """Open shares; a product of shares gets a sharing of zero before.

        Stock MPyC opens the degree-2t polynomial f_a f_r of a product as it is where the field
        is large; a party that sees the whole polynomial factors it and learns a.
        """
        if threshold is not None and threshold > self.threshold:
            x = self._randomise(x)
        return super().output(x, receivers, threshold, raw)

    def _randomise(self, x: Any) -> Any:
        """Add pseudo-random sharings of zero of degree 2 t to a field element, list or array."""
        thresha, m = mpyc.thresha, len(self.parties)
        elements = x if isinstance(x, list) else [x]
        masked = []
        for element in elements:
            is_array = isinstance(element, mpyc.finfields.FiniteFieldArray)
            field = element.field if is_array else type(element)
            draw = thresha.np_pseudorandom_share_0 if is_array else thresha.pseudorandom_share_zero
            n = element.size if is_array else 1
            zero = draw(field, m, self.pid, self.prfs(field.order), self._prss_uci(), n)
            masked.append(element + (zero.reshape(element.shape) if is_array else zero[0]))
        return masked if isinstance(x, list) else masked[0]


def _stop_on_errors(session: Session) -> None:
    """Let an error inside an MPyC coroutine abort the session instead of stopping the loop."""
    asyncoro = mpyc.asyncoro
    deliver = asyncoro.__dict__["__reconcile"]

    def reconcile(declared: Any, task: asyncio.Task[Any]) -> None:
        asyncoro.runtime._pc_level -= 1
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            if declared is not None:
                deliver(declared, task.result())
        elif isinstance(error, MpcError):
            session.network.abort(error)
        else:
            session.network.abort(MpcError(f"MPyC failed: {error}", session.pid))

    asyncoro._reconcile = reconcile


def start_runtime(session: Session, integer_bits: int) -> tuple[ShamirRuntime, Any]:
    """Return MPyC's runtime on the links and keys of a session, and its secure integer type.

    MPyC keeps one runtime per process; the last one started is the one that its types use.
    """
    options = argparse.Namespace(
        threshold=session.access.threshold,
        no_log=True,
        no_async=False,
        no_barrier=True,
        no_prss=False,
        mix32_64bit=False,
        sec_param=SECURITY_BITS,
        bit_length=64,
        ssl=False,
    )
    parties = [
        _Party(pid, None if pid == session.pid else _PeerProtocol(session, pid))
        for pid in range(session.access.n_parties)
    ]
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    runtime = ShamirRuntime(session.pid, parties, options)
    loop.set_exception_handler(handler)
    keys = {i: expand_key(key, b"mpyc")[:16] for i, key in session.keys.items()}
    runtime._prss_keys = {session.access.holders[i]: key for i, key in keys.items()}
    runtime.prfs.cache_clear()
    os.environ.setdefault("MPYC_MAXWORKERS", "0")  # read by MPyC's square roots
    for module in ("sectypes", "asyncoro", "mpctools", "seclists", "secpols", "secgroups"):
        getattr(mpyc, module).runtime = runtime
    mpyc.random.runtime = mpyc.statistics.runtime = runtime
    integer = runtime.SecInt(integer_bits)
    mpyc.runtime.pickle = StrictCodec((integer.field.order.bit_length() + 7) // 8)
    _stop_on_errors(session)
    return runtime, integer

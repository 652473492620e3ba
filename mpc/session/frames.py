"""Binary frames between compute parties: fixed header, size caps, strict decoding.

A frame is `kind (1 byte) | tag (8 bytes, signed) | length (4 bytes) | payload`, little endian.
Arrays travel as raw bytes; the receiver knows dtype and shape from the protocol step and checks
the length. Nothing on the wire is ever unpickled.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mpc.errors import ProtocolViolation

HEADER = struct.Struct("<BqI")
MAX_PAYLOAD = 1 << 26


class Kind(IntEnum):
    """What a frame carries."""

    HELLO = 0
    ENGINE = 1
    MPYC = 2
    ABORT = 3
    HEARTBEAT = 4


_KINDS = frozenset(Kind)


def frame(kind: Kind, tag: int, payload: bytes) -> bytes:
    """Return one encoded frame.

    Raises ProtocolViolation: the payload is larger than `MAX_PAYLOAD`; steps send in chunks.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ProtocolViolation(f"a frame of {len(payload)} bytes exceeds the cap {MAX_PAYLOAD}")
    return HEADER.pack(kind, tag, len(payload)) + payload


class FrameDecoder:
    """Splits a byte stream into frames and refuses unknown kinds and oversized lengths."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, int, bytes]]:
        """Yield the frames completed by `data`.

        Raises ProtocolViolation: unknown kind or a length above the cap.
        """
        self._buffer += data
        position = 0
        try:
            while len(self._buffer) - position >= HEADER.size:
                kind, tag, length = HEADER.unpack_from(self._buffer, position)
                if kind not in _KINDS:
                    raise ProtocolViolation(f"a frame of unknown kind {kind}")
                if length > MAX_PAYLOAD:
                    raise ProtocolViolation(f"a frame announces {length} bytes, above the cap")
                end = position + HEADER.size + length
                if len(self._buffer) < end:
                    break
                payload = bytes(memoryview(self._buffer)[position + HEADER.size : end])
                position = end
                yield Kind(kind), tag, payload
        finally:
            del self._buffer[:position]


def array_from_bytes(
    payload: bytes, dtype: npt.DTypeLike, shape: tuple[int, ...], party: int
) -> npt.NDArray[np.generic]:
    """Decode a raw array of known dtype and shape.

    Raises ProtocolViolation: the payload's length does not fit dtype and shape.
    """
    expected = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if len(payload) != expected:
        raise ProtocolViolation(
            f"party {party} sent {len(payload)} bytes where {expected} are due", party
        )
    return np.frombuffer(payload, dtype=dtype).reshape(shape)

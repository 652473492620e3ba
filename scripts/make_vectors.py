"""Writes the test vectors in tests/vectors from fixed inputs: the formats that must not change.

Every file has good cases, to be reproduced byte by byte, and bad ones, to be refused. Run it only
after a deliberate change of a format, and read the difference.
"""

import json
from io import BytesIO
from pathlib import Path

import numpy as np

from mpc.access import AccessStructure
from mpc.keystream import Keystream, digest, expand_key, extract_key
from mpc.packing import pack_ring
from mpc.upload import UploadFormat
from mpc.wire import HEADER, MAX_PAYLOAD, Kind, frame

VECTORS = Path(__file__).resolve().parents[1] / "tests" / "vectors"
SECRET, SALT = bytes(range(32)), bytes(range(100, 132))
LABELS = [
    "prepare|job/1.0|reshare|2",
    "score|round-0-select/1.3|split|0",
    "select|round-0-select|reshare|1",
    "measure|init|reshare|0",
    "mpyc",
]


def packing_vectors() -> dict:
    cases = []
    for bits in (1, 5, 8, 9, 16, 18, 19, 20, 24, 32, 48, 61):
        values = [(7 * i * i + (i << 40) + 3) % (1 << bits) for i in range(11)]
        values[-2:] = [0, (1 << bits) - 1]
        packed = pack_ring(np.array(values, np.uint64), bits)
        cases.append({"bits": bits, "values": values, "packed": packed.hex()})
    return {"good": cases}


def keystream_vectors() -> dict:
    key = extract_key(SECRET, digest(SALT, b"component", b"1"))
    streams = [
        {
            "label": label,
            "stream_key": expand_key(key, label.encode())[:16].hex(),
            "output": Keystream(key, label.encode()).read(40).hex(),
        }
        for label in LABELS
    ]
    return {
        "secret": SECRET.hex(),
        "binding": SALT.hex(),
        "component": 1,
        "key": key.hex(),
        "good": streams,
        "digest": {"parts": ["", "61", "6263"], "value": digest(b"", b"a", b"bc").hex()},
    }


def upload_vectors() -> dict:
    cases = []
    for m, t, bits in ((3, 1, 19), (4, 1, 20), (5, 2, 12)):
        upload = UploadFormat(AccessStructure(m, t), bits, 10)
        values = [0, 1, 2, 3, 100, 1000, (1 << (bits - 1)) - 1, 7, 0, 5]
        seeds = [bytes([16 * m + i]) * 32 for i in range(len(upload.access.sets) - 1)]
        drawn = BytesIO(b"".join(seeds))
        bodies = [b"".join(body) for body in upload.share(np.array(values), drawn.read)]
        cases.append(
            {
                "parties": m,
                "threshold": t,
                "ring_bits": bits,
                "values": values,
                "seeds": [seed.hex() for seed in seeds],
                "bodies": [body.hex() for body in bodies],
            }
        )
    bad = [
        {"why": "a count below zero", "ring_bits": 12, "values": [-1, 0]},
        {"why": "a count of k bits", "ring_bits": 12, "values": [1 << 11, 0]},
        {"why": "too few cells", "ring_bits": 12, "values": [1]},
    ]
    return {"good": cases, "bad": bad, "bad_cells": 2}


def frame_vectors() -> dict:
    payloads = [(Kind.HELLO, 0, b"{}"), (Kind.ENGINE, -(2**63), bytes(range(20)))]
    payloads += [(Kind.MPYC, 2**63 - 1, b"\x00"), (Kind.ABORT, 0, b"x"), (Kind.HEARTBEAT, 0, b"")]
    good = [
        {"kind": int(k), "tag": tag, "payload": p.hex(), "frame": frame(k, tag, p).hex()}
        for k, tag, p in payloads
    ]
    bad = [
        {"why": "unknown kind", "frame": HEADER.pack(5, 0, 0).hex()},
        {"why": "unknown kind", "frame": (b"\x80\x04\x95" + bytes(10)).hex()},
        {"why": "above the cap", "frame": HEADER.pack(1, 0, MAX_PAYLOAD + 1).hex()},
        {"why": "above the cap", "frame": HEADER.pack(1, 0, 2**32 - 1).hex()},
    ]
    return {"good": good, "bad": bad}


MAKERS = {
    "packing": packing_vectors,
    "keystream": keystream_vectors,
    "upload": upload_vectors,
    "frames": frame_vectors,
}


def main() -> None:
    VECTORS.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        text = json.dumps(make(), indent=1) + "\n"
        (VECTORS / f"{name}.json").write_text(text)


if __name__ == "__main__":
    main()

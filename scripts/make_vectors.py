"""Writes the test vectors in tests/vectors from fixed inputs: the formats that must not change.

Every file has good cases, to be reproduced byte by byte, and bad ones, to be refused. Run it only
after a deliberate change of a format, and read the difference.

The keys of the roles below are published here: they are good for nothing else.
"""

import copy
import datetime as dt
import json
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from mpc.session.access import AccessStructure
from mpc.session.frames import HEADER, MAX_PAYLOAD, Kind, frame
from mpc.session.keystream import Keystream, digest, expand_key, extract_key
from mpc.shares.packing import pack_ring
from mpc.steps.upload import UploadFormat
from parties.agreement.approval import Approval
from parties.agreement.fields import field_hashes
from parties.agreement.manifest import Manifest
from parties.wire.chain import HashChain, head_after
from parties.wire.entries import BeginLine, Entry, FreezeLine, LoadedLine, MeasureLine
from parties.wire.ledger_chain import first_head, head_of
from parties.wire.messages import LedgerEntry, Request, RequestKind, StepCost, pack
from parties.wire.transcript import first_head as first_transcript_head

Vectors = dict[str, Any]
"""What a file in tests/vectors holds."""

VECTORS = Path(__file__).resolve().parents[1] / "tests" / "vectors"
SECRET, SALT = bytes(range(32)), bytes(range(100, 132))
LABELS = [
    "prepare|job/1.0|reshare|2",
    "score|round-0-select/1.3|split|0",
    "select|round-0-select|reshare|1",
    "measure|init|reshare|0",
    "mpyc",
]


def packing_vectors() -> Vectors:
    cases = []
    for bits in (1, 5, 8, 9, 16, 18, 19, 20, 24, 32, 48, 61):
        values = [(7 * i * i + (i << 40) + 3) % (1 << bits) for i in range(11)]
        values[-2:] = [0, (1 << bits) - 1]
        packed = pack_ring(np.array(values, np.uint64), bits)
        cases.append({"bits": bits, "values": values, "packed": packed.hex()})
    return {"good": cases}


def keystream_vectors() -> Vectors:
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


def upload_vectors() -> Vectors:
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


def frame_vectors() -> Vectors:
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


ROLES = ("party-0", "party-1", "party-2", "ann", "estimator")
SELECTION = {
    "round": 1,
    "candidates": [0, 3],
    "selection_epsilon": "1/2",
    "biases": [1, 2],
    "widths": [1, 1],
}
MEASUREMENT = b'{"candidates":[1],"round":1,"sigma2":"4"}'


def role_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(1000 + ROLES.index(name), ec.SECP256R1())


def role_certificate(name: str) -> str:
    key, subject = role_key(name), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1 + ROLES.index(name))
        .not_valid_before(dt.datetime(2025, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2099, 1, 1, tzinfo=dt.UTC))
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def sign(name: str, purpose: str, message: bytes) -> str:
    """Sign as docs/protocol.md says, always with the same signature (RFC 6979)."""
    bound = b"distaim signature\0" + purpose.encode() + b"\0" + message
    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    r, s = decode_dss_signature(role_key(name).sign(bound, algorithm))
    return f"{r:064x}{s:064x}"


def raw_manifest() -> dict[str, Any]:
    members = [{"name": name, "certificate": role_certificate(name)} for name in ROLES]
    columns = [
        {"name": "smoker", "type": "coded", "size": 2},
        {"name": "größe", "type": "continuous", "min": 0.0, "max": 2.5, "bins": 3},
    ]
    return {
        "protocol": "distaim/1",
        "expires": "2098-12-31T00:00:00Z",
        "schema": {"columns": columns},
        "workload": "1 clique",
        "cliques": [["smoker", "größe"]],
        "max_cells": None,
        "mechanism": {
            "epsilon": "1",
            "delta": "1e-9",
            "rho": "1/100",
            "alpha": "9/10",
            "rounds": 2,
            "max_model_mb": "80",
            "participation": "1",
            "seed": 2**53 - 1,
        },
        "n_max": 127,
        "y_max": 127,
        "sigma2_max": "1000",
        "noise": "joint",
        "engine": "replicated",
        "threshold": 1,
        "min_holders": 1,
        "parties": [
            {**member, "url": f"https://{member['name']}:443", "host": member["name"], "port": 7000}
            for member in members[:3]
        ],
        "holders": members[3:4],
        "estimator": members[4],
    }


def manifest() -> Manifest:
    return Manifest.parse(raw_manifest())


def request_vectors() -> Vectors:
    bodies = [
        (RequestKind.FREEZE, b'{"uploads":{"ann":"' + b"a" * 64 + b'"}}'),
        (RequestKind.SELECT, pack(SELECTION, b"\x00payload\xff")),
        (RequestKind.MEASURE, MEASUREMENT),
        (RequestKind.FINISH, b"{}"),
        (RequestKind.FINISH, b""),
        (RequestKind.SELECT, b"{}"),
    ]
    good = [
        {"kind": kind, "body": body.hex(), "sha256": Request(kind, "any-id", body).sha256}
        for kind, body in bodies
    ]
    bad = [
        ("an unknown field", "measure", MEASUREMENT[:-1] + b',"more":1}'),
        ("a fraction with a point", "measure", MEASUREMENT.replace(b'"4"', b'"0.5"')),
        ("a number for a fraction", "measure", MEASUREMENT.replace(b'"4"', b"4")),
        ("a candidate twice", "measure", MEASUREMENT.replace(b"[1]", b"[1,1]")),
        ("no candidate", "measure", MEASUREMENT.replace(b"[1]", b"[]")),
        ("the budget's word", "select", pack({**SELECTION, "epsilon": "1/2"}, b"")),
        ("a header longer than the body", "select", b"\0\0\1\0{}"),
        ("an upload's id of 63 digits", "freeze", b'{"uploads":{"ann":"' + b"a" * 63 + b'"}}'),
        ("a finish with a field", "finish", b'{"now":true}'),
    ]
    return {
        "good": good,
        "bad": [
            {"why": why, "refused_by": "compute party", "kind": kind, "body": body.hex()}
            for why, kind, body in bad
        ],
    }


def manifest_vectors() -> Vectors:
    made = manifest()
    bad = [
        ("a whole number beyond 2^53 - 1", ["mechanism", "seed"], 2**60),
        ("a whole number beyond 2^53 - 1 in the schema", ["schema", "columns", 0, "size"], 2**53),
        ("an unknown field", ["mechanism", "gamma"], "1"),
        ("a number for an exact text", ["mechanism", "epsilon"], 1),
        ("another protocol", ["protocol"], "distaim/2"),
        ("two parties", ["parties"], raw_manifest()["parties"][:2]),
    ]
    return {
        "manifest": raw_manifest(),
        "canonical": made.canonical_bytes().decode(),
        "sha256": made.digest,
        "fields": field_hashes(made),
        "bad": [
            {"why": why, "refused_by": "every role", "path": path, "value": value}
            for why, path, value in bad
        ],
    }


def ledger_vectors() -> Vectors:
    entries = [
        ("measure-0", "1/128", "1/1000000"),
        ("select-1", "1/5000000000000000000000", "0"),
        ("measure-1-2", "1/2000", "3/1000000"),
    ]
    charges = [
        LedgerEntry(request=name, sha256=Request(RequestKind.MEASURE, name, b"").sha256, rho=rho,
                    delta=delta)
        for name, rho, delta in entries
    ]  # fmt: skip
    heads = [first_head(manifest().digest)]
    for charge in charges:
        heads.append(head_of(heads[-1], charge))
    rows = [
        {**charge.model_dump(), "head": head}
        for charge, head in zip(charges, heads[1:], strict=True)
    ]
    refused_by = "compute party at its start; auditor"
    bad = [
        ("a smaller cost", [rows[0], {**rows[1], "rho": "1/50000000000000000000000"}, rows[2]]),
        ("another request", [{**rows[0], "request": "measure-9"}, *rows[1:]]),
        ("another body", [{**rows[0], "sha256": "0" * 64}, *rows[1:]]),
        ("a fraction that is not in its form", [{**rows[0], "rho": "2/256"}, *rows[1:]]),
        ("the first charge is gone", rows[1:]),
        ("two charges changed places", [rows[1], rows[0], rows[2]]),
    ]
    return {
        "manifest": manifest().digest,
        "first_head": heads[0],
        "good": rows,
        "bad": [{"why": why, "refused_by": refused_by, "charges": case} for why, case in bad],
    }


def transcript_lines(entries: list[Entry], signer: str, purpose: str) -> list[str]:
    """Write a transcript of party 1, signed by `signer`, and return its lines."""
    begin = entries[0]
    assert isinstance(begin, BeginLine)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "party-1.jsonl"
        chain = HashChain(
            path, first_transcript_head(begin), lambda line: sign(signer, purpose, line)
        )
        for entry in entries:
            chain.append(entry.model_dump(mode="json", exclude_none=True))
        chain.close()
        return path.read_text("utf-8").splitlines()


def transcript_vectors() -> Vectors:
    begin = BeginLine(manifest=manifest().digest, party=1, name="party-1", version="1.0")
    request = Request(RequestKind.MEASURE, "measure-1", MEASUREMENT)
    charge = LedgerEntry(request=request.id, sha256=request.sha256, rho="1/8", delta="0")
    cost = {"step": StepCost(bytes_sent=10**12, rounds=2, seconds=1e-6)}
    entries = [
        begin,
        FreezeLine(request="freeze", sha256="b" * 64, uploads={"ann": "a" * 64}),
        LoadedLine(cost=cost),
        MeasureLine(
            **charge.model_dump(),
            round=1,
            candidates=[1],
            ledger=head_of(first_head(begin.manifest), charge),
            sigma2="4",
        ),
    ]
    lines = transcript_lines(entries, "party-1", "transcript")
    spaced = json.dumps(json.loads(lines[2]), sort_keys=True)
    other_number = lines[2].replace('"seconds":0.000001', '"seconds":1e-06')
    bad = [
        ("a changed value", [lines[0], lines[1].replace('"ann"', '"bob"'), *lines[2:]]),
        ("a line is gone", [lines[0], *lines[2:]]),
        ("two lines changed places", [lines[0], lines[2], lines[1], lines[3]]),
        ("spaces between keys", [*lines[:2], spaced, lines[3]]),
        ("a number in another form", [*lines[:2], other_number, lines[3]]),
        ("another party's key", transcript_lines(entries, "party-2", "transcript")),
        ("a signature for another purpose", transcript_lines(entries, "party-1", "approval")),
    ]
    return {
        "manifest": manifest().digest,
        "writer": 1,
        "first_head": first_transcript_head(begin),
        "good": [{"line": line, "head": head_after(line.encode())} for line in lines],
        "bad": [{"why": why, "refused_by": "auditor", "lines": case} for why, case in bad],
    }


def approval_vectors() -> Vectors:
    made = manifest()
    unsigned = Approval(
        party="party-0", manifest=made.digest, fields=field_hashes(made), signature=""
    )
    message = unsigned.signed_bytes()
    purpose = "manifest approval"
    good = {**unsigned.model_dump(), "signature": sign("party-0", purpose, message)}
    other_field = copy.deepcopy(good)
    other_field["fields"]["n_max"] = "0" * 32
    bad = [
        ("another manifest", {**good, "manifest": "0" * 64}),
        ("another field", other_field),
        ("another party's key", {**good, "signature": sign("party-1", purpose, message)}),
        ("another purpose", {**good, "signature": sign("party-0", "transcript", message)}),
        ("capital digits", {**good, "signature": good["signature"].upper()}),
        ("another party's name", {**good, "party": "party-1"}),
        ("an unknown field", {**good, "more": 1}),
    ]
    return {
        "signed": message.decode(),
        "good": good,
        "bad": [{"why": why, "refused_by": "every role", "approval": case} for why, case in bad],
    }


MAKERS = {
    "packing": packing_vectors,
    "keystream": keystream_vectors,
    "upload": upload_vectors,
    "frames": frame_vectors,
    "request": request_vectors,
    "manifest": manifest_vectors,
    "ledger": ledger_vectors,
    "transcript": transcript_vectors,
    "approval": approval_vectors,
}


def main() -> None:
    VECTORS.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        text = json.dumps(make(), indent=1, ensure_ascii=False) + "\n"
        (VECTORS / f"{name}.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()

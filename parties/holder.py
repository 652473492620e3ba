"""The data holder: counts its marginals, shares them, uploads the shares, keeps the receipts.

Nothing but shares and public facts leaves. The bodies stand in the outbox until all parties have
given receipts, so that a broken upload is repeated with the very same shares.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from aim_core.domain import Clique, Domain
from aim_core.errors import TableError
from aim_core.marginals import count_marginals
from aim_core.splits import assign
from aim_core.table import encoded_chunks
from aim_core.workload import maximal_cliques
from mpc.upload import UploadFormat
from parties.certificates import Identity
from parties.client import BodyFile, PartyClient
from parties.config import HoldersConfig
from parties.engine import upload_format
from parties.errors import UploadRefused
from parties.manifest import Manifest, PublicInputs, load_manifest, public_inputs
from parties.messages import UploadReceipt, parse

Codes = list[np.ndarray]
"""A table as chunks of (n_rows, n_attributes) codes in a narrow integer type."""


def submit(config: HoldersConfig) -> dict[str, int]:
    """Share and upload the table of each member; return the bytes uploaded per member.

    With several members the rows are split among them (a simulation on one machine). Raises
    TableError for a table that does not fit the schema, and the parties' refusals.
    """
    manifest = load_manifest(config.manifest)
    inputs = public_inputs(manifest)
    codes = read_codes(config.table, inputs)
    n_rows = sum(len(chunk) for chunk in codes)
    owners = assign(n_rows, len(config.members), config.split, config.seed)
    uploaded = {}
    for place, member in enumerate(config.members):
        vector = count_vector(_rows_of(codes, owners, place), inputs, manifest.n_max)
        identity = Identity(member.name, member.certificate, member.key)
        outbox = config.outbox / member.name
        prepare(vector, upload_format(manifest, inputs), manifest, outbox)
        receipts = upload(manifest, identity, outbox, config)
        uploaded[member.name] = sum(receipt.n_bytes for receipt in receipts)
        shutil.rmtree(outbox)
    return uploaded


def read_codes(table: Path, inputs: PublicInputs) -> Codes:
    """Code a table and keep its codes in the narrowest type that holds the largest one."""
    narrow = np.min_scalar_type(max(inputs.domain.sizes) - 1)
    return [chunk.astype(narrow) for chunk in encoded_chunks(table, inputs.schema)]


def count_vector(chunks: Iterable[np.ndarray], inputs: PublicInputs, n_max: int) -> np.ndarray:
    """Count the maximal marginals and join them in their order, (n_cells,) uint32.

    Raises TableError for more rows than the public bound `n_max`.
    """
    cliques = maximal_cliques(inputs.workload)
    counts = count_marginals(chunks, inputs.domain, cliques)
    n_rows = int(counts[cliques[0]].sum())
    if n_rows > n_max:
        raise TableError(
            f"the table has {n_rows:,} rows, above the manifest's public bound n_max = {n_max:,}; "
            "agree on a manifest with a larger bound"
        )
    return _joined(counts, cliques, inputs.domain)


def prepare(vector: np.ndarray, form: UploadFormat, manifest: Manifest, outbox: Path) -> None:
    """Share a vector into one body file per party, unless this job's shares are there already."""
    record = outbox / "upload.json"
    if record.exists() and _record(outbox)["manifest"] == manifest.digest:
        return
    outbox.mkdir(parents=True, exist_ok=True)
    for pid, chunks in enumerate(form.share(vector)):
        path = _body_path(outbox, pid)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(chunks)
    facts = {"manifest": manifest.digest, "upload": secrets.token_hex(32)}
    record.write_text(json.dumps(facts), "utf-8")


def upload(
    manifest: Manifest, identity: Identity, outbox: Path, config: HoldersConfig
) -> list[UploadReceipt]:
    """Send the outbox's bodies to all parties at once and return their receipts.

    Raises UploadRefused for a receipt that is not for what was sent.
    """
    upload_id = _record(outbox)["upload"]

    def send(pid: int) -> UploadReceipt:
        path = _body_path(outbox, pid)
        with PartyClient(manifest, pid, identity, config.request_timeout) as client:
            client.wait_ready(config.connect_timeout)
            body = BodyFile(str(path), path.stat().st_size)
            answer = client.put(f"/v1/uploads/{identity.name}", upload_id, body)
        receipt = parse(UploadReceipt, answer)
        with path.open("rb") as file:
            if receipt.sha256 != hashlib.file_digest(file, "sha256").hexdigest():
                raise UploadRefused(
                    f"compute party {pid} received something else than was sent; submit again",
                    party=pid,
                )
        return receipt

    with ThreadPoolExecutor(manifest.n_parties) as pool:
        return list(pool.map(send, range(manifest.n_parties)))


def _rows_of(codes: Codes, owners: np.ndarray, holder: int) -> Iterator[np.ndarray]:
    start = 0
    for chunk in codes:
        yield chunk[owners[start : start + len(chunk)] == holder]
        start += len(chunk)


def _joined(
    counts: dict[Clique, np.ndarray], cliques: Sequence[Clique], domain: Domain
) -> np.ndarray:
    vector = np.empty(sum(domain.n_cells(clique) for clique in cliques), dtype=np.uint32)
    place = 0
    for clique in cliques:
        cells = counts.pop(clique)
        vector[place : place + cells.size] = cells
        place += cells.size
    return vector


def _body_path(outbox: Path, pid: int) -> Path:
    return outbox / f"body-{pid}.share"


def _record(outbox: Path) -> dict[str, str]:
    record: dict[str, str] = json.loads((outbox / "upload.json").read_text("utf-8"))
    return record

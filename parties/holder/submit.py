"""The data holder: counts its marginals, shares them, uploads the shares, keeps the receipts.

Nothing but shares and public facts leaves. The bodies stand in the outbox until all parties have
given signed receipts, so that a broken upload goes on with the very same shares.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from aim_core.arrays import CodeTable, Counts, CountVector
from aim_core.counts.marginals import count_marginals
from aim_core.counts.workload import maximal_cliques
from aim_core.domain import Clique, Domain
from aim_core.errors import TableError
from aim_core.studies.splits import Owners, assign
from aim_core.tables.files.formats import TableSource
from aim_core.tables.files.reading import encoded_chunks
from mpc.session.retrying import Backoff, Deadline, retry
from mpc.steps.upload import UploadFormat
from parties.agreement.approval import load_approved_manifest
from parties.agreement.derived import upload_format
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs, public_inputs
from parties.errors import PartyUnreachable, UploadBroken, UploadRefused
from parties.files import write_whole
from parties.identity.certificates import Identity
from parties.identity.signatures import Verifier
from parties.setup.config import HolderMember, HoldersConfig
from parties.wire.client import BodyFile, PartyClient
from parties.wire.messages import RECEIPT_PURPOSE, UploadReceipt, parse

_PAUSES = Backoff(0.5, 5.0)


def submit(config: HoldersConfig, notify: Callable[[str], None]) -> dict[str, int]:
    """Share and upload the table of each member; return the bytes uploaded per member.

    `notify` is told what the schema's rules made fit in the table of a single member. With several
    members the rows are split among them (a simulation on one machine). Raises
    TableError for a table that does not fit the schema, and the parties' refusals.
    """
    manifest = load_approved_manifest(config.manifest)
    inputs = public_inputs(manifest)
    uploaded = {}
    for member, chunks in _tables(config, inputs, notify):
        vector = count_vector(chunks, inputs, manifest.n_max)
        identity = Identity(member.name, member.certificate, member.key)
        outbox = config.outbox / f"{manifest.run}-{member.name}"
        prepare(vector, upload_format(manifest, inputs), manifest, outbox)
        del vector
        receipts = upload(manifest, identity, outbox, config)
        if config.receipts is not None:
            _keep_receipts(receipts, config.receipts / f"{manifest.run}-{member.name}")
        uploaded[member.name] = sum(receipt.n_bytes for receipt in receipts)
        shutil.rmtree(outbox)
    return uploaded


def _tables(
    config: HoldersConfig, inputs: PublicInputs, notify: Callable[[str], None]
) -> Iterator[tuple[HolderMember, Iterable[CodeTable]]]:
    """Yield each member's rows as chunks of codes; one member's table is never held as a whole."""
    if len(config.members) == 1:
        yield config.members[0], encoded_chunks(config.source, inputs.schema, notify=notify)
        return
    codes = read_codes(config.source, inputs)
    n_holders = len(config.members)
    owners = assign(codes, inputs.domain, n_holders, config.split, config.seed, config.target)
    for number, member in enumerate(config.members):
        yield member, _rows_of(codes, owners, number)


def read_codes(table: TableSource, inputs: PublicInputs) -> list[CodeTable]:
    """Code a table and keep its codes in the narrowest type that holds the largest one."""
    narrow = np.min_scalar_type(max(inputs.domain.sizes) - 1)
    return [chunk.astype(narrow) for chunk in encoded_chunks(table, inputs.schema)]


def count_vector(chunks: Iterable[CodeTable], inputs: PublicInputs, n_max: int) -> CountVector:
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


def prepare(vector: CountVector, form: UploadFormat, manifest: Manifest, outbox: Path) -> None:
    """Share a vector into one body file per party, unless its shares are there already.

    UploadRefused if a party has given a receipt for shares of another table.
    """
    record = outbox / "upload.json"
    counts = hashlib.sha256(vector.astype("<u4").tobytes()).hexdigest()
    if record.exists():
        known = _record(outbox)
        if (known["manifest"], known["counts"]) == (manifest.digest, counts):
            return
        if any(outbox.glob("receipt-*.json")):
            raise UploadRefused(
                "the table has changed since a part of it was uploaded; one upload per holder "
                "counts: submit the table as it was, or ask for a new job"
            )
        record.unlink()
    outbox.mkdir(mode=0o700, parents=True, exist_ok=True)
    for pid, chunks in enumerate(form.share(vector)):
        path = _body_path(outbox, pid)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
    facts = {"manifest": manifest.digest, "upload": secrets.token_hex(32), "counts": counts}
    write_whole(record, json.dumps(facts), 0o600)


def upload(
    manifest: Manifest, identity: Identity, outbox: Path, config: HoldersConfig
) -> list[UploadReceipt]:
    """Send the outbox's bodies to all parties at once and return their receipts, in order.

    A party that has given its receipt before is not asked again; one that does not answer is tried
    until nothing has arrived there for `connect_timeout`. Raises UploadRefused or IdentityError
    for a receipt that is not the party's for what was sent.
    """

    def send(pid: int) -> UploadReceipt:
        kept = outbox / f"receipt-{pid}.json"
        if not kept.exists():
            answer = _send(manifest, pid, identity, outbox, config)
            check_receipt(parse(UploadReceipt, answer), manifest, pid, identity.name, outbox)
            write_whole(kept, answer)
        receipt = parse(UploadReceipt, kept.read_bytes())
        check_receipt(receipt, manifest, pid, identity.name, outbox)
        return receipt

    with ThreadPoolExecutor(manifest.n_parties) as pool:
        return list(pool.map(send, range(manifest.n_parties)))


def _send(
    manifest: Manifest, pid: int, identity: Identity, outbox: Path, config: HoldersConfig
) -> bytes:
    """Send what the party does not have, until it has all; return its receipt."""
    body, upload = BodyFile(_body_path(outbox, pid)), _record(outbox)["upload"]
    furthest, deadline = 0, Deadline(config.connect_timeout)
    with PartyClient(manifest, pid, identity, config.request_timeout) as client:

        def send_rest() -> bytes:
            nonlocal furthest
            offset = client.received(identity.name, upload)
            if furthest < offset <= body.size:
                furthest = offset
                deadline.restart()
            return client.put(identity.name, upload, body, min(offset, body.size))

        return retry(send_rest, (PartyUnreachable, UploadBroken), deadline, _PAUSES)


def check_receipt(
    receipt: UploadReceipt, manifest: Manifest, pid: int, holder: str, outbox: Path
) -> None:
    """Check that a receipt is the party's own, and for what stands in the outbox.

    Raises IdentityError for a signature that is not the party's, UploadRefused for another body.
    """
    verifier = Verifier(manifest.parties[pid].certificate)
    verifier.check(RECEIPT_PURPOSE, receipt.signed_bytes(), receipt.signature)
    body = BodyFile(_body_path(outbox, pid))
    due = (manifest.digest, pid, holder, _record(outbox)["upload"], body.sha256, body.size)
    said = (receipt.manifest, receipt.party, receipt.holder, receipt.upload, receipt.sha256)
    if (*said, receipt.n_bytes) != due:
        raise UploadRefused(
            f"the receipt of compute party {pid} is not for what was sent; submit again, and have "
            "that party's operator told",
            party=pid,
        )


def _keep_receipts(receipts: Sequence[UploadReceipt], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for receipt in receipts:
        write_whole(folder / f"party-{receipt.party}.json", receipt.model_dump_json())


def _rows_of(codes: list[CodeTable], owners: Owners, holder: int) -> Iterator[CodeTable]:
    start = 0
    for chunk in codes:
        yield chunk[owners[start : start + len(chunk)] == holder]
        start += len(chunk)


def _joined(counts: dict[Clique, Counts], cliques: Sequence[Clique], domain: Domain) -> CountVector:
    vector = np.empty(sum(domain.n_cells(clique) for clique in cliques), dtype=np.uint32)
    start = 0
    for clique in cliques:
        cells = counts.pop(clique)
        vector[start : start + cells.size] = cells
        start += cells.size
    return vector


def _body_path(outbox: Path, pid: int) -> Path:
    return outbox / f"body-{pid}.share"


def _record(outbox: Path) -> dict[str, str]:
    record: dict[str, str] = json.loads((outbox / "upload.json").read_text("utf-8"))
    return record

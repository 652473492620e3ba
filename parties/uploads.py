"""A compute party's uploads: one body per holder, on disk, taken once."""

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from parties.errors import RequestRefused, UploadRefused
from parties.messages import UploadReceipt, parse


class UploadStore:
    """Uploads in a folder: NAME.share is the body, NAME.json the receipt.

    All parties' bodies of one sharing carry one upload id, so that shares of two different
    sharings never mix.
    """

    def __init__(self, folder: Path, party: int, body_size: int) -> None:
        self._folder = folder
        self._party = party
        self.body_size = body_size
        folder.mkdir(parents=True, exist_ok=True)
        self.receipts = {
            path.stem: parse(UploadReceipt, path.read_bytes()) for path in folder.glob("*.json")
        }

    def path(self, holder: str) -> Path:
        """Return where a holder's body stands."""
        return self._folder / f"{holder}.share"

    async def take(self, holder: str, upload: str, chunks: AsyncIterator[bytes]) -> UploadReceipt:
        """Store one body of exactly `body_size` bytes and return its receipt.

        The same body again gets the same receipt. Raises UploadRefused for a body of another
        size, or a different one after the first.
        """
        part = self._folder / f"{holder}.{secrets.token_hex(8)}.part"
        try:
            digest, n_bytes = await _write(part, chunks, self.body_size)
            if n_bytes != self.body_size:
                raise UploadRefused(
                    f"the upload of {holder} has {n_bytes} bytes, {self.body_size} are due; "
                    "submit again with the manifest of this job",
                    party=self._party,
                )
            receipt = UploadReceipt(
                party=self._party, holder=holder, upload=upload, sha256=digest, n_bytes=n_bytes
            )
            return self._keep(receipt, part)
        finally:
            part.unlink(missing_ok=True)

    def _keep(self, receipt: UploadReceipt, part: Path) -> UploadReceipt:
        known = self.receipts.get(receipt.holder)
        if known is None:
            part.replace(self.path(receipt.holder))
            record = self._folder / f"{receipt.holder}.json"
            record.write_text(receipt.model_dump_json(), "utf-8")
            self.receipts[receipt.holder] = receipt
        elif known != receipt:
            raise UploadRefused(
                f"{receipt.holder} has uploaded something else before; one upload per holder "
                "counts, send the first one again or ask for a new job",
                party=self._party,
            )
        return receipt


async def _write(path: Path, chunks: AsyncIterator[bytes], cap: int) -> tuple[str, int]:
    digest, n_bytes = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        try:
            async for chunk in chunks:
                digest.update(chunk)
                n_bytes += len(chunk)
                file.write(chunk)
        except RequestRefused as error:
            raise UploadRefused(f"an upload is longer than the {cap} bytes due") from error
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    return digest.hexdigest(), n_bytes

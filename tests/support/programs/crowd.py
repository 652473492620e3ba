"""Holders that submit at the same moment, each in a thread: crowd.py FOLDER NUMBER..."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from parties.holder.submit import submit
from parties.setup.config import HolderMember, HoldersConfig


def submit_one(folder: Path, number: int, start: Barrier) -> str:
    name = f"holder-{number}"
    own = folder / name
    member = HolderMember(name=name, certificate=own / f"{name}.crt", key=own / f"{name}.key")
    config = HoldersConfig(
        manifest=folder / "manifest.json",
        table=own / "table.csv",
        outbox=own / "outbox",
        receipts=own / "receipts",
        members=[member],
    )
    start.wait(30)
    submit(config, print)
    return name


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[2:]]
    barrier = Barrier(len(numbers))
    with ThreadPoolExecutor(len(numbers)) as pool:
        futures = [pool.submit(submit_one, Path(sys.argv[1]), n, barrier) for n in numbers]
        for future in futures:
            print(future.result())

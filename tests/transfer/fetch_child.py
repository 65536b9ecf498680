"""Run by tests in a process of its own: fetch URL into DIRECTORY, keeping the ledger in a file.

`python -m tests.transfer.fetch_child URL DIRECTORY LEDGER PAIR [LARGEST_FILE]`; prints the error's
code or the digest.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from tests.transfer.ledgers import FileLedger
from transfer.errors import TransferError
from transfer.fetch import FetchLimits, FilePlan, fetch
from transfer.http import GuardedClient, OutboundPolicy


def main(url: str, directory: str, ledger: str, pair: str, largest: str = "") -> None:
    if largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
    try:
        fetched = fetch(
            FilePlan(url),
            client=GuardedClient(OutboundPolicy.from_allow_list((pair,))),
            directory=Path(directory),
            ledger=FileLedger(Path(ledger)),
            limits=FetchLimits(connections=2),
            on_progress=lambda done, total: print(done, flush=True),
            should_stop=lambda: False,
        )
    except TransferError as error:
        print(error.code, flush=True)
    else:
        print(fetched.sha256, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

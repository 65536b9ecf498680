"""CivitAI, the HuggingFace Hub, their CDNs and plain file hosts, played on loopback sockets.

    from tests.origin import Origin

    with Origin() as origin:
        origin.env()                    # CIVITAI_ENDPOINT, HF_ENDPOINT, OUTBOUND_ALLOW
        origin.links.checkpoint         # a link to paste
        origin.civitai.file(6475)       # what must arrive: size_bytes, sha256, read()
        origin.faults.drop("/cdn/*", at=100_000)
        origin.log.find(site="cdn")

By hand: `python -m tests.origin`.
"""

from tests.origin.server import Origin

__all__ = ["Origin"]

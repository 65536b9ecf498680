"""`python -m tests.origin`: try the product against sources that run on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import threading

from tests.origin.server import Origin


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.origin", description=__doc__)
    parser.add_argument("--port-base", type=int, default=8700, help="first of four ports (8700)")
    parser.add_argument(
        "--bytes-per-second",
        type=int,
        default=0,
        help="speed of each connection to the CDN and file host",
    )
    arguments = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with Origin(port_base=arguments.port_base) as origin:
        if arguments.bytes_per_second:
            origin.faults.slow("/cdn/*", arguments.bytes_per_second)
            origin.faults.slow("/direct/*", arguments.bytes_per_second)
        print("Start the product with:\n")
        for name, value in origin.env().items():
            print(f"  export {name}={value}")
        print("\nTokens to save in its settings:\n")
        print(f"  CivitAI      {origin.civitai.token}")
        print(f"  HuggingFace  {origin.huggingface.token}")
        print("\nLinks to paste:\n")
        for name, link in dataclasses.asdict(origin.links).items():
            print(f"  {name:16} {link}")
        print(f"  {'recorded':16} {origin.civitai_url}/models/5414?modelVersionId=6297")
        print("\nCtrl-C ends it.", flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()

"""`python -m tests.origin`, as somebody uses it who wants to try the product."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import pytest
import requests

from tests import servers
from tests.product import ROOT


def four_free_ports() -> int:
    """The first of four neighbours on which nobody listens at this moment."""
    for _ in range(50):
        base = servers.free_port()
        try:
            for port in range(base, base + 4):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return base
    raise AssertionError("no four free ports in a row")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_what_to_set_serves_and_stops(number: signal.Signals) -> None:
    base = four_free_ports()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.origin", "--port-base", str(base)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        text = "".join(said)
        settings = dict(re.findall(r"export (\w+)=(\S+)", text))
        assert set(settings) == {"CIVITAI_ENDPOINT", "HF_ENDPOINT", "OUTBOUND_ALLOW"}
        assert requests.get(f"{settings['CIVITAI_ENDPOINT']}/api/v1/models/5414", timeout=10).ok
        process.send_signal(number)
        assert process.wait(10) == 0

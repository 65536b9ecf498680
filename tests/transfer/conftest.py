from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.transfer.origin import Origin, running
from transfer import pulse
from transfer.http import GuardedClient, OutboundPolicy


@pytest.fixture
def origin() -> Iterator[Origin]:
    with running() as started:
        yield started


@pytest.fixture
def second_origin() -> Iterator[Origin]:
    with running("127.0.0.2") as started:
        yield started


@pytest.fixture
def make_client() -> Iterator[Callable[..., GuardedClient]]:
    made: list[GuardedClient] = []

    def make(*origins: Origin, **limits: Any) -> GuardedClient:
        pairs = tuple(one.pair for one in origins)
        client = GuardedClient(OutboundPolicy.from_allow_list(pairs, **limits))
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., GuardedClient], origin: Origin) -> GuardedClient:
    return make_client(origin)


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "FIRST_DELAY_SECONDS", 0.01)


class Canary:
    """Listeners on addresses that nobody may reach; they count who came."""

    def __init__(self) -> None:
        self.visits = 0
        self._stopped = threading.Event()
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port: int = self._sockets[0].getsockname()[1]
        for family, host in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
            with contextlib.suppress(OSError):
                self._sockets.append(socket.create_server((host, self.port), family=family))
        for listener in self._sockets:
            listener.settimeout(0.05)
        self._threads = [
            threading.Thread(target=self._watch, args=(one,), daemon=True) for one in self._sockets
        ]
        for thread in self._threads:
            thread.start()

    def _watch(self, listener: socket.socket) -> None:
        while not self._stopped.is_set():
            try:
                visitor, _peer = listener.accept()
            except TimeoutError:
                continue
            self.visits += 1
            visitor.close()

    def close(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(5)
        for listener in self._sockets:
            listener.close()


@pytest.fixture
def canary() -> Iterator[Canary]:
    started = Canary()
    yield started
    started.close()
    assert started.visits == 0


@pytest.fixture
def fake_dns(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """Host → the answers of each look-up in turn; the last one stays."""
    answers: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host not in answers:
            return real(host, port, *args, **kwargs)
        turns = answers[host]
        addresses = turns.pop(0) if len(turns) > 1 else turns[0]
        return [entry for one in addresses for entry in real(one, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return answers


@pytest.fixture
def tls_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server certificate for 127.0.0.1 and files.example, trusted by clients made afterwards."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.DNSName("files.example"),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    return context

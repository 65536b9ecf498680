"""What an answer of a server means: statuses, headers and library errors become our errors here.

Nothing in this module puts a URL into a message; a host name is all that is said.
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
from collections.abc import Iterable
from email.message import Message
from email.utils import parsedate_to_datetime

import urllib3.exceptions

from transfer.errors import (
    AuthRequired,
    BadAnswer,
    ConnectFailed,
    Interrupted,
    RemoteBusy,
    RemoteGone,
    RemoteRefused,
    TlsFailed,
    TransferError,
)

MAX_RETRY_AFTER_S = 3600.0
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_RATE_LIMIT_RESET = re.compile(r"(?:^|;)\s*t=([0-9]{1,9})(?:;|,|\s|$)", re.ASCII)


def status_error(status: int, headers: Message, body: bytes, host: str) -> TransferError:
    """The error that a status which was not asked for stands for."""
    if status in {401, 403}:
        return AuthRequired(
            f"{host} refuses to give this out ({status}). A token or an accepted licence may help.",
            status=status,
            body=body,
            headers=headers,
        )
    if status in {404, 410, 451}:
        return RemoteGone(
            f"This is no longer at {host} ({status}).", status=status, body=body, headers=headers
        )
    if status in {408, 429} or status >= 500:
        return RemoteBusy(
            f"{host} answered {status}. It will be asked again later.",
            status=status,
            retry_after_s=retry_after_s(headers, status),
            headers=headers,
        )
    if 400 <= status < 500:
        return RemoteRefused(
            f"{host} answered {status}.", status=status, body=body, headers=headers
        )
    return BadAnswer(
        f"{host} gave an answer that makes no sense here ({status}).", status=status, host=host
    )


def retry_after_s(headers: Message, status: int) -> float | None:
    """Seconds that the server asked to wait, at most an hour; None when it said nothing usable.

    `Retry-After` in seconds or as a date, else the `t` of `RateLimit` after a 429.
    """
    text = (headers.get("Retry-After") or "").strip()
    if _DIGITS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER_S)
    if text and not text.lstrip("+-").isdigit():
        try:
            wait = parsedate_to_datetime(text).timestamp() - time.time()
            return min(max(wait, 0.0), MAX_RETRY_AFTER_S)
        except (ValueError, OverflowError):
            return None
    reset = _RATE_LIMIT_RESET.search(headers.get("RateLimit") or "") if status == 429 else None
    return min(float(reset[1]), MAX_RETRY_AFTER_S) if reset else None


def check_headers(headers: Message, host: str) -> None:
    """Refuse headers that leave open how long the body is or what its bytes mean."""
    lengths = {text.strip() for text in headers.get_all("Content-Length", [])}
    if len(lengths) > 1 or not all(_DIGITS.fullmatch(text) for text in lengths):
        raise BadAnswer(
            f"{host} sent a Content-Length that is no number.", reason="http_bad_header", host=host
        )
    if not _says_only(headers.get_all("Content-Encoding", []), {"", "identity"}):
        raise BadAnswer(
            f"{host} sent a packed body although it was asked for a plain one.",
            reason="http_encoded",
            host=host,
        )
    if not _says_only(headers.get_all("Transfer-Encoding", []), {"", "chunked"}):
        raise BadAnswer(
            f"{host} sent a body in a form that was not asked for.",
            reason="http_encoded",
            host=host,
        )


def _says_only(values: Iterable[str], allowed: set[str]) -> bool:
    return {value.strip().lower() for value in values} <= allowed


def library_error(error: Exception, host: str, *, connecting: bool) -> TransferError:
    """Our error for one of sockets, TLS, http.client or urllib3."""
    if isinstance(error, TransferError):
        return error
    if connecting:
        return _connect_error(error, host)
    if isinstance(error, TimeoutError):
        return Interrupted(f"Nothing came from {host} for too long.", host=host)
    if isinstance(error, http.client.IncompleteRead | OSError):
        return Interrupted(f"The connection to {host} was lost.", host=host)
    return BadAnswer(
        f"{host} sent something that is no HTTP answer.", reason="http_bad_header", host=host
    )


def _connect_error(error: Exception, host: str) -> TransferError:
    if isinstance(error, TimeoutError):
        return ConnectFailed(f"Could not connect to {host}: no answer in time.", host=host)
    cut = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)
    if isinstance(error, ssl.SSLError | ssl.CertificateError) and not cut:
        return TlsFailed(
            f"{host} has no valid certificate for this connection; nothing was sent.", host=host
        )
    return ConnectFailed(f"Could not connect to {host}: the connection was cut.", host=host)


LIBRARY_ERRORS = (
    OSError,
    http.client.HTTPException,
    urllib3.exceptions.HTTPError,
    TransferError,
    ValueError,
)

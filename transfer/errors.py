"""What can go wrong between a URL and a verified file.

TransferError
├── UrlNotAllowed            scheme, address, user info or port that we never fetch from
├── RedirectRefused          too many hops, or a hop to somewhere forbidden
├── ConnectFailed            refused, no such host, time-out while connecting      (retryable)
├── TlsFailed                the certificate or the handshake is wrong
├── Interrupted              the line was cut, or nothing came for too long        (retryable)
├── TooSlow                  slower than the minimum for a whole window            (retryable)
├── BadAnswer                headers or a body that contradict each other          (retryable)
├── TooLarge                 more bytes than expected or allowed
├── RemoteBusy               429 or 5xx; knows when to come back                   (retryable)
├── AuthRequired             401 or 403
├── RemoteGone               404, 410, 451
├── RemoteRefused            any other 4xx
├── RemoteChanged            the file is not the one we started with               (retryable)
│   └── SizeMismatch         it has fewer bytes than its source lists: final
├── DigestMismatch           all bytes came, and they are not the published ones
├── NoSpace, DiskError, TargetExists, UnsafePath
└── StopRequested            not a failure: whoever runs the transfer asked for it
"""

from __future__ import annotations

from email.message import Message

from config.errors import ModelyardError


class TransferError(ModelyardError):
    code = "transfer_failed"
    http_status = 502


class UrlNotAllowed(TransferError):
    code = "url_not_allowed"
    http_status = 400


class RedirectRefused(TransferError):
    code = "redirect_refused"
    http_status = 400


class ConnectFailed(TransferError):
    code = "connect_failed"
    retryable = True


class TlsFailed(TransferError):
    code = "tls_failed"


class Interrupted(TransferError):
    code = "interrupted"
    retryable = True


class TooSlow(TransferError):
    code = "too_slow"
    retryable = True


class BadAnswer(TransferError):
    code = "bad_answer"
    retryable = True


class TooLarge(TransferError):
    code = "too_large"
    http_status = 422


class RemoteBusy(TransferError):
    """429 or 5xx. `retry_after_s` is what the server asked for, already bounded, or None.

    `headers` are those of the answer: a source may say there when its budget is full again.
    """

    code = "remote_busy"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        status: int,
        retry_after_s: float | None = None,
        headers: Message | None = None,
    ) -> None:
        super().__init__(message, status=status)
        self.status = status
        self.retry_after_s = retry_after_s
        self.headers = headers if headers is not None else Message()


class RemoteStatus(TransferError):
    """An answer that trying again does not change; `body` is its bounded beginning and `headers`
    its headers, for sources that give a status several meanings (never shown to users)."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        body: bytes = b"",
        headers: Message | None = None,
    ) -> None:
        super().__init__(message, status=status)
        self.status = status
        self.body = body
        self.headers = headers if headers is not None else Message()


class AuthRequired(RemoteStatus):
    code = "auth_required"


class RemoteGone(RemoteStatus):
    code = "remote_gone"


class RemoteRefused(RemoteStatus):
    code = "remote_refused"


class RemoteChanged(TransferError):
    code = "remote_changed"
    retryable = True


class SizeMismatch(RemoteChanged):
    code = "size_mismatch"
    retryable = False


class DigestMismatch(TransferError):
    code = "hash_mismatch"


class NoSpace(TransferError):
    code = "no_space"
    http_status = 507


class DiskError(TransferError):
    code = "disk_error"
    http_status = 500


class TargetExists(TransferError):
    code = "target_exists"
    http_status = 409


class UnsafePath(TransferError):
    code = "unsafe_path"
    http_status = 400


class StopRequested(TransferError):
    """Raised out of a transfer when its `should_stop` said so; what is on disk stays usable."""

    code = "stopped"

"""The one tree of errors, and the one place that catches everything.

    ModelyardError
    ├── transfer.errors.TransferError     the network, the disk, a byte that is wrong
    ├── sources.errors.SourceError        a reference that is not understood, a source that says no
    ├── tokens.errors.TokenError          a token that cannot be kept or read
    ├── registry.errors.RegistryError     a file, a folder or an asset that cannot be what was asked
    └── downloads.errors.DownloadError    a move that the queue does not allow

Every error has a stable `code` that clients may test, a sentence that says what to do next, and
`details` with facts (never a secret, never a URL's query).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

logger = logging.getLogger(__name__)


class ModelyardError(Exception):
    """Base of all errors that a user may see.

    `http_status` is the answer of the API, `retryable` says that the same call may succeed later
    without anybody changing anything.
    """

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 400
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """The body of the API's answer: `code`, `message`, `details`."""
        return {"code": self.code, "message": self.message, "details": self.details}


class InternalError(ModelyardError):
    """Something of ours broke; the log has the traceback, the user gets this sentence."""

    code = "internal_error"
    http_status = 500


@contextmanager
def boundary(what: str, on_error: Callable[[ModelyardError], None]) -> Iterator[None]:
    """Run a block whose failure must not end the process: the only `except Exception` there is.

    `on_error` gets the domain error as it is, and an `InternalError` for anything else, whose
    traceback is logged under `what`. Errors raised by `on_error` itself are not caught.
    """
    try:
        yield
    except ModelyardError as error:
        on_error(error)
    except Exception:
        logger.exception("%s failed unexpectedly", what)
        on_error(
            InternalError(
                "Something went wrong inside Modelyard; the log of the worker has the details. "
                "Try again, and tell your admin if it happens twice."
            )
        )

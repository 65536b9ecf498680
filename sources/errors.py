"""What a source, or the text that names it, can answer instead of a resolution.

SourceError
├── ReferenceNotUnderstood   the text is no link or id that we know; names the accepted forms
├── NotFound                 no such model, version, file, repository or revision
├── NotDownloadable          archived, taken down, downloads disabled, nothing but training data
│   └── NotAModel            the link leads to a page, a message or nothing
├── TokenRequired            401: a token would help
├── TokenRejected            the token that was sent is wrong or expired
├── LicenceRequired          gated: the licence must be accepted on the site first
├── EarlyAccess              paid until a moment in time, which it knows
├── TooLargeForHttp          more than the source gives out by plain HTTP
├── SourceFormat             the answer is not what the source's API promises
└── SourceUnavailable        does not answer, or too many requests               (retryable)
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from config.errors import ModelyardError


class SourceError(ModelyardError):
    code = "source_error"


class ReferenceNotUnderstood(SourceError):
    code = "reference_not_understood"


class NotFound(SourceError):
    code = "not_found_at_source"
    http_status = 404


class NotDownloadable(SourceError):
    code = "not_downloadable"
    http_status = 422


class NotAModel(NotDownloadable):
    code = "not_a_model_file"


class TokenRequired(SourceError):
    code = "token_required"
    http_status = 422


class TokenRejected(SourceError):
    code = "token_rejected"
    http_status = 422


class LicenceRequired(SourceError):
    code = "licence_required"
    http_status = 422


class EarlyAccess(SourceError):
    """`until` is None when the access stays paid."""

    code = "early_access"
    http_status = 422

    def __init__(self, message: str, *, until: datetime | None = None, **details: Any) -> None:
        super().__init__(message, until=until.isoformat() if until else None, **details)
        self.until = until


class TooLargeForHttp(SourceError):
    code = "too_large_for_http"
    http_status = 422


class SourceFormat(SourceError):
    code = "source_format"
    http_status = 502


class SourceUnavailable(SourceError):
    """`retry_after_s` is what the source asked for, bounded, or None."""

    code = "source_unavailable"
    http_status = 502
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after_s = retry_after_s

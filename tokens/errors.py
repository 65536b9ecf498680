"""What can go wrong with a kept secret.

TokenError
├── TokenNotUsable    the text cannot be a token; it is never repeated in the message
├── TokenRefused      the service was asked and said no; nothing was stored
├── TokenUnreadable   wrong key, moved between rows, damaged: the owner has to save it again
├── UnknownService    we keep no tokens of that service
├── NoSuchSecret      this user has no such token or key
└── TooManyLogins     wrong passwords from one address; knows when to come back
"""

from __future__ import annotations

from config.errors import ModelyardError


class TokenError(ModelyardError):
    code = "token_error"


class TokenNotUsable(TokenError):
    code = "token_not_usable"


class TokenRefused(TokenError):
    code = "token_refused"


class TokenUnreadable(TokenError):
    code = "token_unreadable"
    http_status = 409


class UnknownService(TokenError):
    code = "unknown_service"


class NoSuchSecret(TokenError):
    code = "not_found"
    http_status = 404


class TooManyLogins(TokenError):
    """`retry_after_s` is when the oldest of the counted failures is forgotten."""

    code = "too_many_logins"
    http_status = 429
    retryable = True

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.retry_after_s = retry_after_s

"""What can go wrong with a kept secret."""

from __future__ import annotations

from config.errors import ModelyardError


class TokenError(ModelyardError):
    code = "token_error"


class TokenNotUsable(TokenError):
    """The text cannot be a token: empty, too long, line breaks, quotes in the middle."""

    code = "token_not_usable"


class TokenRefused(TokenError):
    """The service was asked and said that the token is wrong."""

    code = "token_refused"


class TokenUnreadable(TokenError):
    """Wrong key, moved between rows, or damaged: the owner has to save it again."""

    code = "token_unreadable"
    http_status = 409


class UnknownService(TokenError):
    code = "unknown_service"

"""Keep, check, use and forget secrets. Every change leaves an entry in the audit log."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from ops import audit
from sources.errors import SourceError, TokenRejected
from tokens import clients, crypto
from tokens.errors import (
    NoSuchSecret,
    TokenNotUsable,
    TokenRefused,
    TokenUnreadable,
    UnknownService,
)
from tokens.models import ApiKey, ApiToken, Service, Validity
from transfer.errors import TransferError
from transfer.http import Credential

logger = logging.getLogger(__name__)

MAX_TOKEN_LENGTH = 512
#: Visible ASCII: whatever else is in a header is no token.
TOKEN_TEXT = re.compile(r"[\x21-\x7e]+")
QUOTES = ("'", '"', "`")
BEARER = re.compile(r"(?i)(authorization\s*:\s*)?bearer(\s+|$)")
#: What a copy from a web page may bring along without showing it.
INVISIBLE = "\ufeff\u200b\u2060"
#: `last_used_at` is written at most this often.
USED_EVERY = timedelta(minutes=1)

KEY_PREFIX_LENGTH = 8
KEY_PREFIX_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class CheckedToken:
    """A token that may be stored. Its text never shows in a repr."""

    service_name: str
    text: str = field(repr=False)
    validity: Validity
    account: str


# --- Tokens of other services --------------------------------------------------------------------


def clean_token(text: str) -> str:
    """A token as it was meant: without blanks, quotes or a leading "Bearer".

    Raises TokenNotUsable, without repeating the text, when it is empty, longer than 512 characters
    or holds anything but visible ASCII.
    """
    text = _unquoted(text.strip().strip(INVISIBLE).strip())
    text = _unquoted(BEARER.sub("", text, count=1).strip() if BEARER.match(text) else text)
    if not text:
        raise TokenNotUsable("The token is empty. Paste it as the service shows it.", field="token")
    if len(text) > MAX_TOKEN_LENGTH:
        raise TokenNotUsable(
            f"The token is longer than {MAX_TOKEN_LENGTH} characters. Paste the token alone.",
            field="token",
        )
    if not TOKEN_TEXT.fullmatch(text) or any(quote in text for quote in QUOTES):
        raise TokenNotUsable(
            "The token holds blanks, line breaks or letters that no token has. "
            "Paste it as the service shows it.",
            field="token",
        )
    return text


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] in QUOTES and text[0] == text[-1]:
        return text[1:-1].strip()
    return text


def hint_of(token: str) -> str:
    """The last four characters, of a token long enough to keep the rest a secret."""
    return f"...{token[-4:]}" if len(token) >= 8 else "****"


def check_new_token(*, service_name: str, token: str) -> CheckedToken:
    """Trim a token and ask its service. Nothing is stored.

    Raises UnknownService, TokenNotUsable, TokenRefused. A service that does not answer makes the
    token unchecked, not wrong.
    """
    if service_name not in Service.values:
        raise UnknownService(
            f"Tokens are kept for {' and '.join(Service.values)} only.", field="service_name"
        )
    text = clean_token(token)
    validity, account = _ask(service_name, text)
    if validity == Validity.INVALID:
        raise TokenRefused(
            f"{Service(service_name).label} refuses this token, so it was not saved. "
            "Make a new one in your account there, and paste it whole.",
            service_name=service_name,
        )
    return CheckedToken(service_name, text, validity, account)


def _ask(service_name: str, text: str) -> tuple[Validity, str]:
    """What the service says: valid with the account's name, invalid, or unchecked."""
    credential = clients.endpoints().credential(service_name, text)
    try:
        account = clients.resolver(cached=False).check_token(service_name, credential)
    except TokenRejected:
        return Validity.INVALID, ""
    except (SourceError, TransferError) as error:
        logger.info("%s did not check a token: %s", service_name, error.code)
        return Validity.UNCHECKED, ""
    return Validity.VALID, account[:200]


def save_token(*, user: AbstractBaseUser, service_name: str, token: str) -> ApiToken:
    """Check a token at its service and store it in place of the old one.

    Raises UnknownService, TokenNotUsable, TokenRefused; then the old one stays as it was.
    """
    checked = check_new_token(service_name=service_name, token=token)
    return store_token(user=user, checked=checked)


def store_token(
    *, user: AbstractBaseUser, checked: CheckedToken, actor: AbstractBaseUser | None = None
) -> ApiToken:
    """Store what `check_new_token` gave. `actor` is who does it, when it is not the user."""
    row = ApiToken(user_id=user.pk, service_name=checked.service_name)
    sealed = crypto.default_ring().encrypt(checked.text.encode(), context=row.context)
    with transaction.atomic():
        row, _ = ApiToken.objects.update_or_create(
            user_id=user.pk,
            service_name=checked.service_name,
            defaults={
                "encrypted_token": sealed.blob,
                "key_id": sealed.key_id,
                "token_hint": hint_of(checked.text),
                "is_valid": True,
                "validity": checked.validity,
                "account": checked.account,
                "checked_at": None if checked.validity == Validity.UNCHECKED else timezone.now(),
                "last_used_at": None,
            },
        )
        audit.record(
            "token.saved",
            actor=actor or user,
            target=row,
            service=row.service_name,
            validity=row.validity,
            owner=user.get_username(),
        )
    return row


def delete_token(
    *, user: AbstractBaseUser, service_name: str, actor: AbstractBaseUser | None = None
) -> None:
    """Forget a token. Raises NoSuchSecret when there is none."""
    with transaction.atomic():
        row = ApiToken.objects.filter(user_id=user.pk, service_name=service_name).first()
        if row is None:
            raise NoSuchSecret("There is no token of that service to delete.")
        audit_target = ApiToken(pk=row.pk)
        row.delete()
        audit.record(
            "token.deleted",
            actor=actor or user,
            target=audit_target,
            service=service_name,
            owner=user.get_username(),
        )


def check_token(*, token_row: ApiToken, actor: AbstractBaseUser | None = None) -> ApiToken:
    """Ask the service again and note what it said; only its refusal makes a token invalid."""
    text = _read(token_row)
    if text is None:
        return token_row
    validity, account = _ask(token_row.service_name, text)
    if validity != Validity.UNCHECKED:
        token_row.validity = validity
        token_row.is_valid = validity == Validity.VALID
        token_row.account = account or token_row.account
        token_row.checked_at = timezone.now()
        with transaction.atomic():
            token_row.save(
                update_fields=["validity", "is_valid", "account", "checked_at", "updated_at"]
            )
            audit.record(
                "token.checked",
                actor=actor,
                target=token_row,
                service=token_row.service_name,
                validity=validity,
            )
    return token_row


def credential_for(*, user: AbstractBaseUser | None, service_name: str) -> Credential | None:
    """The user's token, ready to be sent to its service and nowhere else.

    None without a token, when the service has refused it, when it cannot be decrypted (then the row
    says so), and for a user who may not act any more.
    """
    if user is None or not user.is_active:
        return None
    return _own(user, service_name) or _lent(service_name)


def lend_tokens(tokens: Mapping[str, str]) -> None:
    """Tokens by service for this process only, for users without one: those of a terminal."""
    _LENT.clear()
    _LENT.update({service: text for service, text in tokens.items() if text})


_LENT: dict[str, str] = {}


def _lent(service_name: str) -> Credential | None:
    text = _LENT.get(service_name)
    return clients.endpoints().credential(service_name, text) if text else None


def _own(user: AbstractBaseUser, service_name: str) -> Credential | None:
    row = (
        ApiToken.objects.filter(user_id=user.pk, service_name=service_name)
        .filter(Q(is_valid=True) | Q(validity=Validity.UNREADABLE))
        .first()
    )
    text = _read(row) if row else None
    if row is None or text is None:
        return None
    now = timezone.now()
    ApiToken.objects.filter(pk=row.pk).filter(
        Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - USED_EVERY)
    ).update(last_used_at=now)
    return clients.endpoints().credential(service_name, text)


def _read(row: ApiToken) -> str | None:
    """The token's text, None when it cannot be decrypted. The row follows either way."""
    try:
        text = (
            crypto.default_ring()
            .decrypt(bytes(row.encrypted_token), context=row.context, key_id=row.key_id)
            .decode()
        )
    except TokenUnreadable:
        _mark_unreadable(row)
        return None
    if row.validity == Validity.UNREADABLE:  # The missing key is loaded again.
        row.validity, row.is_valid = Validity.UNCHECKED, True
        row.save(update_fields=["validity", "is_valid", "updated_at"])
    return text


def _mark_unreadable(row: ApiToken) -> None:
    logger.warning("Token %s cannot be decrypted: wrong key, or it was moved.", row.pk)
    if row.validity == Validity.UNREADABLE:
        return
    row.validity, row.is_valid = Validity.UNREADABLE, False
    with transaction.atomic():
        row.save(update_fields=["validity", "is_valid", "updated_at"])
        audit.record("token.unreadable", target=row, service=row.service_name)


# --- Secrets of other packages' rows -------------------------------------------------------------


def seal_text(text: str, *, context: str) -> bytes:
    """Encrypted `text`; it opens for the same `context` only. See `crypto.register_column`."""
    return crypto.default_ring().encrypt(text.encode(), context=context).blob


def open_text(blob: bytes, *, context: str) -> str:
    """What `seal_text` got. Raises TokenUnreadable."""
    return crypto.default_ring().decrypt(blob, context=context).decode()


# --- Keys of our own API -------------------------------------------------------------------------


def hash_key(plain: str) -> str:
    # 256 random bits need no slow hash.
    return hashlib.sha256(plain.encode()).hexdigest()


def create_api_key(
    *, user: AbstractBaseUser, name: str = "", actor: AbstractBaseUser | None = None
) -> tuple[ApiKey, str]:
    """A new key and its text `my_<prefix>_<secret>`, which is never seen again."""
    prefix = "".join(secrets.choice(KEY_PREFIX_ALPHABET) for _ in range(KEY_PREFIX_LENGTH))
    plain = f"my_{prefix}_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        key = ApiKey.objects.create(
            user_id=user.pk, name=name, prefix=prefix, key_hash=hash_key(plain)
        )
        audit.record(
            "api_key.created",
            actor=actor or user,
            target=key,
            prefix=prefix,
            name=name,
            owner=user.get_username(),
        )
    return key, plain


def revoke_api_key(*, key: ApiKey, actor: AbstractBaseUser | None = None) -> None:
    """End a key at once. Repeating it changes nothing."""
    with transaction.atomic():
        ended = ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(
            revoked_at=timezone.now()
        )
        if ended:
            audit.record("api_key.revoked", actor=actor, target=key, prefix=key.prefix)
    key.refresh_from_db()


def own_api_key(*, user: AbstractBaseUser, key_id: Any) -> ApiKey:
    """The user's own key. Raises NoSuchSecret, also for somebody else's."""
    key = ApiKey.objects.filter(pk=key_id, user_id=user.pk, revoked_at__isnull=True).first()
    if key is None:
        raise NoSuchSecret("There is no such key, or it is not yours.")
    return key

"""Secrets at rest: AES-256-GCM with a ring of keys.

    sealed  = version (1 byte, 0x01) ‖ key id (8) ‖ nonce (12, random) ‖ ciphertext ‖ tag (16)
    AAD     = "modelyard" NUL version NUL key id NUL context

`context` says whose secret it is (`api-token:<user>:<service>`), so a blob that is copied to
another row does not open there. A key's id is the start of a SHA-256 over it, so the ring needs
no names: the newest key encrypts, all of them decrypt.

A package with a column of its own registers it with `register_column`; the rotation command and the
check for missing keys then cover it.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from tokens.errors import TokenUnreadable

VERSION = b"\x01"
KEY_ID_BYTES = 8
NONCE_BYTES = 12
TAG_BYTES = 16
HEAD_BYTES = len(VERSION) + KEY_ID_BYTES + NONCE_BYTES


@dataclass(frozen=True)
class Sealed:
    """`blob` is what is stored; `key_id` is inside it too, and here for a column to search by."""

    key_id: str
    blob: bytes


def id_of(key: bytes) -> str:
    """16 hex characters that name a key and tell nothing about it."""
    return hashlib.sha256(b"modelyard key id\0" + key).hexdigest()[: 2 * KEY_ID_BYTES]


def key_id_of(blob: bytes) -> str:
    """The id of the key that sealed `blob`, "" when it is no sealed blob."""
    if len(blob) < HEAD_BYTES + TAG_BYTES or not blob.startswith(VERSION):
        return ""
    return blob[len(VERSION) : len(VERSION) + KEY_ID_BYTES].hex()


class KeyRing:
    """32-byte keys, newest first."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        if not keys:
            raise RuntimeError("A key ring needs a key.")
        self._ciphers = {id_of(key): AESGCM(key) for key in keys}
        self.newest_id = id_of(keys[0])

    @property
    def key_ids(self) -> frozenset[str]:
        return frozenset(self._ciphers)

    def encrypt(self, data: bytes, *, context: str) -> Sealed:
        nonce = os.urandom(NONCE_BYTES)
        key_id = self.newest_id
        cipher = self._ciphers[key_id]
        text = cipher.encrypt(nonce, data, _associated_data(key_id, context))
        return Sealed(key_id, VERSION + bytes.fromhex(key_id) + nonce + text)

    def decrypt(self, blob: bytes, *, context: str, key_id: str = "") -> bytes:
        """What was sealed for `context`. `key_id`, when given, must be the blob's own.

        Raises TokenUnreadable for everything else: a key that is not loaded, a blob of another
        row, a changed byte, a cut tail. Which of them it was is no business of who asks.
        """
        blob = bytes(blob)
        found = key_id_of(blob)
        cipher = self._ciphers.get(found)
        if cipher is None or (key_id and key_id != found):
            raise _unreadable()
        nonce = blob[HEAD_BYTES - NONCE_BYTES : HEAD_BYTES]
        try:
            return cipher.decrypt(nonce, blob[HEAD_BYTES:], _associated_data(found, context))
        except InvalidTag as exc:
            raise _unreadable() from exc


def _associated_data(key_id: str, context: str) -> bytes:
    return b"\0".join((b"modelyard", VERSION, key_id.encode(), context.encode()))


def _unreadable() -> TokenUnreadable:
    return TokenUnreadable("What is stored cannot be decrypted. Save it again.")


@functools.lru_cache(maxsize=8)
def _ring(keys: tuple[bytes, ...]) -> KeyRing:
    return KeyRing(keys)


def default_ring() -> KeyRing:
    """The ring of `ENCRYPTION_KEY`."""
    return _ring(tuple(settings.ENCRYPTION_KEYS))


@dataclass(frozen=True)
class EncryptedColumn:
    """A model's field of sealed blobs; `context` gives the context that a row was sealed with."""

    model: str
    field: str
    context: Callable[[Any], str]
    #: A column that repeats the key id, "" when there is none.
    key_id_field: str = ""


columns: dict[tuple[str, str], EncryptedColumn] = {}


def register_column(
    model: str, field: str, *, context: Callable[[Any], str], key_id_field: str = ""
) -> None:
    """Let rotation and the key check cover `field` of `model` ("app.Model"). Call it in `ready`."""
    columns[(model, field)] = EncryptedColumn(model, field, context, key_id_field)

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tokens.crypto import HEAD_BYTES, KeyRing, id_of, key_id_of
from tokens.errors import TokenUnreadable

OLD, NEW = b"o" * 32, b"n" * 32
CONTEXT = "api-token:1:civitai"


def test_what_was_sealed_opens_for_the_same_context() -> None:
    ring = KeyRing((NEW,))
    sealed = ring.encrypt(b"token", context=CONTEXT)
    assert ring.decrypt(sealed.blob, context=CONTEXT, key_id=sealed.key_id) == b"token"
    assert b"token" not in sealed.blob


def test_the_blob_is_version_key_id_nonce_and_plain_aes_gcm() -> None:
    blob = KeyRing((NEW,)).encrypt(b"token", context=CONTEXT).blob
    assert blob[:1] == b"\x01"
    assert blob[1:9].hex() == id_of(NEW) == key_id_of(blob)
    nonce, text = blob[9:21], blob[21:]
    bound = b"modelyard\0\x01\0" + id_of(NEW).encode() + b"\0" + CONTEXT.encode()
    assert AESGCM(NEW).decrypt(nonce, text, bound) == b"token"


def test_every_write_has_a_nonce_of_its_own() -> None:
    ring = KeyRing((NEW,))
    nonces = {ring.encrypt(b"x", context=CONTEXT).blob[9:21] for _ in range(500)}
    assert len(nonces) == 500


def test_the_newest_key_encrypts_and_old_ones_still_open() -> None:
    old = KeyRing((OLD,)).encrypt(b"token", context=CONTEXT)
    ring = KeyRing((NEW, OLD))
    assert ring.decrypt(old.blob, context=CONTEXT) == b"token"
    assert ring.encrypt(b"token", context=CONTEXT).key_id == id_of(NEW)


BLOB = KeyRing((NEW,)).encrypt(b"token", context=CONTEXT).blob


@pytest.mark.parametrize(
    ("blob", "context", "key_id"),
    [
        pytest.param(BLOB, "api-token:2:civitai", "", id="another user"),
        pytest.param(BLOB, "api-token:1:huggingface", "", id="another service"),
        pytest.param(BLOB, CONTEXT, id_of(OLD), id="the column names another key"),
        pytest.param(BLOB[:-1], CONTEXT, "", id="a cut tag"),
        pytest.param(BLOB[:HEAD_BYTES], CONTEXT, "", id="no text"),
        pytest.param(BLOB[:-16], CONTEXT, "", id="no tag"),
        pytest.param(b"", CONTEXT, "", id="nothing"),
        pytest.param(b"\x02" + BLOB[1:], CONTEXT, "", id="another version"),
        pytest.param(BLOB[:9] + b"\0" * 12 + BLOB[21:], CONTEXT, "", id="another nonce"),
        pytest.param(
            BLOB[:1] + bytes.fromhex(id_of(OLD)) + BLOB[9:], CONTEXT, "", id="unknown key"
        ),
        pytest.param(BLOB[:-1] + bytes([BLOB[-1] ^ 1]), CONTEXT, "", id="one changed bit"),
        pytest.param(BLOB + b"\0", CONTEXT, "", id="one byte more"),
    ],
)
def test_anything_else_is_unreadable(blob: bytes, context: str, key_id: str) -> None:
    with pytest.raises(TokenUnreadable):
        KeyRing((NEW,)).decrypt(blob, context=context, key_id=key_id)


def test_no_bit_of_a_blob_can_be_changed_unnoticed() -> None:
    ring = KeyRing((NEW,))
    for position in range(len(BLOB)):
        changed = bytearray(BLOB)
        changed[position] ^= 0x40
        with pytest.raises(TokenUnreadable):
            ring.decrypt(bytes(changed), context=CONTEXT)


def test_another_key_cannot_open() -> None:
    with pytest.raises(TokenUnreadable):
        KeyRing((OLD,)).decrypt(BLOB, context=CONTEXT)


def test_the_error_says_nothing_about_the_secret_or_the_reason() -> None:
    with pytest.raises(TokenUnreadable) as caught:
        KeyRing((OLD,)).decrypt(BLOB, context=CONTEXT)
    assert caught.value.message == "What is stored cannot be decrypted. Save it again."
    assert caught.value.details == {}

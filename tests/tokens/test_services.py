from __future__ import annotations

import base64
import logging
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from ops.models import AuditEvent
from tests.canaries import canary, traces
from tests.tokens.conftest import Services
from tokens import clients, crypto, services
from tokens.errors import (
    NoSuchSecret,
    TokenNotUsable,
    TokenRefused,
    TokenUnreadable,
    UnknownService,
)
from tokens.models import ApiToken, Validity
from transfer.urls import origin_of

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def stored(user: Any, service: str = "civitai") -> ApiToken:
    return ApiToken.objects.get(user=user, service_name=service)


def test_a_saved_token_is_checked_encrypted_and_hinted(
    user: Any, known: Services, token: str
) -> None:
    row = services.save_token(user=user, service_name="civitai", token=token)
    assert (row.validity, row.is_valid, row.account) == ("valid", True, "alice-at-civitai")
    assert row.token_hint == "..." + token[-4:]
    assert row.checked_at is not None
    blob = bytes(ApiToken.objects.values_list("encrypted_token", flat=True).get())
    assert not traces(blob)
    assert blob[1:9].hex() == row.key_id == crypto.default_ring().newest_id


@pytest.mark.parametrize(
    "typed",
    ["{0}", "  {0}\n", "'{0}'", '"{0}"', "Bearer {0}", "bearer  {0} ", '"Bearer {0}"',
     "Authorization: Bearer {0}", "`{0}`", "\ufeff{0}"],
)  # fmt: skip
def test_a_token_is_trimmed_to_what_was_meant(token: str, typed: str) -> None:
    assert services.clean_token(typed.format(token)) == token


@pytest.mark.parametrize(
    "typed",
    ["", "   ", "''", "Bearer ", "two words", "line\nbreak", "a\r\nX-Evil: 1", "tab\tbed",
     "nul\0byte", "tökén", "🔑", "a" * 513, "x" * 10_240, "half'quote", "\u202eevil", "\x7f"],
)  # fmt: skip
def test_what_cannot_be_a_token_is_refused_without_an_echo(typed: str) -> None:
    with pytest.raises(TokenNotUsable) as caught:
        services.clean_token(typed)
    told = f"{caught.value.message} {caught.value.details}"
    assert not typed.strip() or typed.strip() not in told


def test_a_refused_token_is_not_stored_and_the_old_one_stays(
    user: Any, known: Services, token: str
) -> None:
    services.save_token(user=user, service_name="civitai", token=token)
    with pytest.raises(TokenRefused):
        services.save_token(user=user, service_name="civitai", token=canary("wrong"))
    credential = services.credential_for(user=user, service_name="civitai")
    assert credential is not None
    assert credential.secret == token


def test_a_service_that_does_not_answer_leaves_the_token_unchecked(
    user: Any, known: Services, token: str
) -> None:
    known.is_down = True
    row = services.save_token(user=user, service_name="civitai", token=token)
    assert (row.validity, row.is_valid, row.checked_at) == ("unchecked", True, None)
    assert services.credential_for(user=user, service_name="civitai") is not None


def test_saving_again_replaces_the_token(user: Any, known: Services, token: str) -> None:
    first = services.save_token(user=user, service_name="civitai", token=token)
    newer = canary("civitai newer")
    known.accounts[newer] = "alice-2"
    second = services.save_token(user=user, service_name="civitai", token=newer)
    assert first.pk == second.pk
    assert stored(user).account == "alice-2"
    credential = services.credential_for(user=user, service_name="civitai")
    assert credential is not None
    assert credential.secret == newer


def test_a_token_of_an_unknown_service_is_refused(user: Any, known: Services, token: str) -> None:
    with pytest.raises(UnknownService):
        services.save_token(user=user, service_name="github", token=token)
    assert known.asked == []


def test_a_short_token_shows_nothing_of_itself() -> None:
    assert services.hint_of("abc1234") == "****"
    assert services.hint_of("abcd1234") == "...1234"


def test_a_credential_goes_to_its_service_only(
    user: Any, known: Services, token: str, settings: Any
) -> None:
    settings.CIVITAI_ENDPOINT = "http://127.0.0.1:9999"
    services.save_token(user=user, service_name="civitai", token=token)
    credential = services.credential_for(user=user, service_name="civitai")
    assert credential is not None
    assert credential.origins == {origin_of("http://127.0.0.1:9999")}
    assert not traces(repr(credential))


def test_there_is_no_credential_without_a_token(
    user: Any, other: Any, known: Services, token: str
) -> None:
    services.save_token(user=user, service_name="civitai", token=token)
    assert services.credential_for(user=other, service_name="civitai") is None
    assert services.credential_for(user=user, service_name="huggingface") is None
    assert services.credential_for(user=None, service_name="civitai") is None


def test_a_user_who_may_not_act_any_more_lends_no_token(
    user: Any, known: Services, token: str
) -> None:
    services.save_token(user=user, service_name="civitai", token=token)
    user.is_active = False
    user.save()
    assert services.credential_for(user=user, service_name="civitai") is None


def test_only_the_refusal_of_the_service_makes_a_token_invalid(
    user: Any, known: Services, token: str
) -> None:
    row = services.save_token(user=user, service_name="civitai", token=token)
    known.is_down = True
    assert services.check_token(token_row=row).validity == Validity.VALID
    known.is_down = False
    known.accounts.clear()
    assert services.check_token(token_row=row).is_valid is False
    assert stored(user).validity == Validity.INVALID
    assert services.credential_for(user=user, service_name="civitai") is None


def test_last_use_is_written_at_most_once_a_minute(user: Any, known: Services, token: str) -> None:
    services.save_token(user=user, service_name="civitai", token=token)
    start = timezone.now().replace(microsecond=0)
    with time_machine.travel(start, tick=False) as clock:
        services.credential_for(user=user, service_name="civitai")
        clock.shift(30)
        services.credential_for(user=user, service_name="civitai")
        assert stored(user).last_used_at == start
        clock.shift(31)
        services.credential_for(user=user, service_name="civitai")
        assert stored(user).last_used_at == start + timedelta(seconds=61)


def test_a_list_of_tokens_does_not_carry_the_ciphertext(
    user: Any, known: Services, token: str, django_assert_num_queries: Any
) -> None:
    services.save_token(user=user, service_name="civitai", token=token)
    assert "encrypted_token" in stored(user).get_deferred_fields()
    assert "encrypted_token" in user.api_tokens.get().get_deferred_fields()


# --- A14, A15: what somebody with access to the database can do -------------------------------------


def test_a_ciphertext_moved_to_another_user_opens_for_nobody(
    user: Any, other: Any, known: Services, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    row = services.save_token(user=user, service_name="civitai", token=token)
    blob = ApiToken.objects.values_list("encrypted_token", flat=True).get(pk=row.pk)
    ApiToken.objects.create(
        user=other, service_name="civitai", encrypted_token=blob, key_id=row.key_id
    )
    with caplog.at_level(logging.WARNING):
        assert services.credential_for(user=other, service_name="civitai") is None
    moved = stored(other)
    assert (moved.validity, moved.is_valid) == ("unreadable", False)
    assert AuditEvent.objects.filter(action="token.unreadable", object_id=str(moved.pk)).exists()
    assert "cannot be decrypted" in caplog.text


def test_a_ciphertext_moved_to_another_service_does_not_open(
    user: Any, known: Services, token: str
) -> None:
    services.save_token(user=user, service_name="civitai", token=token)
    ApiToken.objects.filter(user=user).update(service_name="huggingface")
    assert services.credential_for(user=user, service_name="huggingface") is None
    assert stored(user, "huggingface").validity == Validity.UNREADABLE


def test_a_token_is_readable_again_when_its_key_is_loaded_again(
    user: Any, known: Services, token: str, settings: Any
) -> None:
    services.save_token(user=user, service_name="civitai", token=token)
    keys = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = (b"z" * 32,)
    assert services.credential_for(user=user, service_name="civitai") is None
    settings.ENCRYPTION_KEYS = (b"z" * 32, *keys)
    assert services.credential_for(user=user, service_name="civitai") is not None
    assert stored(user).validity == Validity.UNCHECKED


def test_an_unreadable_token_is_replaced_by_saving_it_again(
    user: Any, known: Services, token: str, settings: Any
) -> None:
    services.save_token(user=user, service_name="civitai", token=token)
    settings.ENCRYPTION_KEYS = (b"z" * 32,)
    services.credential_for(user=user, service_name="civitai")
    services.save_token(user=user, service_name="civitai", token=token)
    assert services.credential_for(user=user, service_name="civitai") is not None


def test_a_sealed_text_opens_for_its_row_only() -> None:
    blob = services.seal_text("https://example.com/f?token=1", context="download:1")
    assert services.open_text(blob, context="download:1") == "https://example.com/f?token=1"
    with pytest.raises(TokenUnreadable):
        services.open_text(blob, context="download:2")


# --- Forgetting, and the trail ----------------------------------------------------------------------


def test_deleting_forgets_the_token_and_deleting_again_is_an_error(
    user: Any, other: Any, known: Services, token: str
) -> None:
    services.save_token(user=user, service_name="civitai", token=token)
    with pytest.raises(NoSuchSecret):
        services.delete_token(user=other, service_name="civitai")
    services.delete_token(user=user, service_name="civitai")
    assert not ApiToken.objects.exists()
    with pytest.raises(NoSuchSecret):
        services.delete_token(user=user, service_name="civitai")


def test_every_action_on_a_token_is_in_the_audit_log_without_the_token(
    user: Any, known: Services, token: str
) -> None:
    row = services.save_token(user=user, service_name="civitai", token=token)
    services.check_token(token_row=row, actor=user)
    services.delete_token(user=user, service_name="civitai")
    entries = list(AuditEvent.objects.filter(object_type="tokens.apitoken").order_by("pk"))
    assert [entry.action for entry in entries] == ["token.saved", "token.checked", "token.deleted"]
    assert {entry.actor_name for entry in entries} == {"alice"}
    assert {entry.object_id for entry in entries} == {str(row.pk)}
    dump = str([entry.__dict__ for entry in entries])
    assert not traces(dump)
    assert token[-4:] not in dump


def test_no_log_line_holds_the_token(
    user: Any, known: Services, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        services.save_token(user=user, service_name="civitai", token=token)
        services.credential_for(user=user, service_name="civitai")
        known.accounts.clear()
        with pytest.raises(TokenRefused):
            services.save_token(user=user, service_name="civitai", token=token)
    assert not traces(caplog.text)


# --- The clients that tokens builds -----------------------------------------------------------------


def test_an_own_endpoint_may_be_private_and_the_public_one_may_not(settings: Any) -> None:
    settings.CIVITAI_ENDPOINT = "http://127.0.0.1:9999"
    settings.OUTBOUND_ALLOW = ("10.0.0.5:9000",)
    policy = clients.outbound_policy()
    assert policy.allow == {("127.0.0.1", 9999), ("10.0.0.5", 9000)}


def test_a_process_has_one_client_until_the_settings_change(settings: Any) -> None:
    first = clients.guarded_client()
    assert clients.guarded_client() is first
    settings.OUTBOUND_ALLOW = ("10.0.0.5:9000",)
    assert clients.guarded_client() is not first


def test_a_cache_that_is_away_is_one_that_knows_nothing(settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
    }
    shared = clients.SharedCache()
    shared.set("k", {"a": 1}, 5)
    assert shared.get("k") is None


def test_the_cache_holds_json_and_reads_nothing_else() -> None:
    shared = clients.SharedCache()
    shared.set("k", {"a": [1, None, "ü"]}, 30)
    assert shared.get("k") == {"a": [1, None, "ü"]}


def test_a_pickle_in_the_cache_is_not_run() -> None:
    from django.core.cache import cache
    from redis import Redis

    client: Redis = cache._cache.get_client(write=True)  # type: ignore[attr-defined]
    shared = clients.SharedCache()
    shared.set("evil", {"a": 1}, 30)
    payload = base64.b64decode("gASVIAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAR0cnVllIWUUpQu")
    client.set(cache.make_key("sources:evil"), payload)
    assert shared.get("evil") is None

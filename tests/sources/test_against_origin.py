"""The resolver with the real client against the loopback services: redirects, pages, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from config.errors import ModelyardError
from sources.errors import LicenceRequired, NotFound, TokenRejected, TokenRequired
from sources.parse import parse_reference
from sources.refs import Endpoints
from sources.resolution import Resolution
from sources.resolver import Resolver
from tests.origin import Origin
from transfer.http import GuardedClient, OutboundPolicy


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as started:
        yield started


@pytest.fixture
def asking(origin: Origin) -> Iterator[Resolver]:
    origin.faults.clear()
    client = GuardedClient(OutboundPolicy.from_allow_list(tuple(origin.allow.split(","))))
    yield Resolver(client, endpoints(origin), sleep=lambda _seconds: None)
    client.close()


def endpoints(origin: Origin) -> Endpoints:
    return Endpoints(civitai=origin.civitai_url, huggingface=origin.huggingface_url)


def resolve(asking: Resolver, text: str, **fields: Any) -> Resolution:
    return asking.resolve(parse_reference(text, asking.endpoints), **fields)


def test_every_link_to_paste_resolves_or_says_why(origin: Origin, asking: Resolver) -> None:
    for name in origin.links.__dataclass_fields__:
        link = getattr(origin.links, name)
        if name == "hub_private":
            with pytest.raises(TokenRequired):
                resolve(asking, link)
            continue
        found = resolve(asking, link)
        assert found.chosen, name
        assert all(file.size_bytes for file in found.files), name
        assert parse_reference(found.reference, asking.endpoints)


def test_the_links_of_the_public_hosts_are_asked_for_here(origin: Origin, asking: Resolver) -> None:
    found = resolve(asking, "https://civitai.red/models/1231067/slug")
    assert (
        found.file("1289799").url
        == f"{origin.civitai_url}/api/download/models/1387174?fileId=1289799"
    )


def test_a_renamed_repository_is_followed(origin: Origin, asking: Resolver) -> None:
    found = resolve(asking, "https://huggingface.co/bert-base-uncased")
    assert found.model_id == "google-bert/bert-base-uncased"
    assert found.file(found.chosen[0]).hashes.sha256


def test_early_access_and_login_are_known_before_the_download(
    origin: Origin, asking: Resolver
) -> None:
    early = resolve(asking, origin.links.early_access)
    assert early.early_access
    assert early.early_access_until is not None
    assert "login" in resolve(asking, origin.links.lora_with_token).needs_token


def test_a_bad_token_is_rejected_and_goes_nowhere_else(origin: Origin, asking: Resolver) -> None:
    bad = endpoints(origin).credential("huggingface", "hf_canary_bad")
    with pytest.raises((TokenRejected, LicenceRequired, NotFound)) as caught:
        resolve(asking, origin.links.hub_private, credential=bad)
    assert "canary" not in str(caught.value)
    with pytest.raises(TokenRejected):
        asking.check_token("huggingface", bad)
    with pytest.raises(TokenRejected):
        asking.check_token("civitai", endpoints(origin).credential("civitai", "canary-bad"))


def test_a_snapshot_and_a_bundle_know_all_their_files(origin: Origin, asking: Resolver) -> None:
    snapshot = resolve(asking, origin.links.hub_snapshot)
    assert snapshot.is_snapshot
    assert snapshot.folder.count("--") == 1
    assert all(snapshot.file(file_id).path == file_id for file_id in snapshot.chosen)
    assert len(resolve(asking, origin.links.bundle).chosen) == 3


def test_a_located_file_answers(origin: Origin, asking: Resolver) -> None:
    reference = parse_reference(origin.links.checkpoint, asking.endpoints)
    found = asking.resolve(reference)
    file = asking.locate(reference, file_id=found.chosen[0])
    with asking.client.open(file.url, headers={"Range": "bytes=0-0"}) as answer:
        assert answer.status == 206


@pytest.mark.parametrize(
    "text",
    [
        "https://civitai.com/models/999999",
        "nobody/nothing",
        "https://civitai.com/model-versions/999999",
    ],
)
def test_what_does_not_exist_is_a_clear_error(asking: Resolver, text: str) -> None:
    with pytest.raises(ModelyardError) as caught:
        resolve(asking, text)
    assert caught.value.code in {"not_found_at_source", "token_required"}

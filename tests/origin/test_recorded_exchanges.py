"""The origin answers as the Hub and CivitAI did when they were recorded."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.origin import Origin, recorded

#: What differs by nature: the moment, the request, our own files and hosts.
OURS = {
    "Date", "X-Request-Id", "Ratelimit", "X-Amz-Cf-Id", "X-Amz-Cf-Pop", "Connection",
    "Location", "Link", "X-Linked-Etag", "X-Xet-Hash", "Content-Length", "Via",
}  # fmt: skip
#: Etags of error bodies and which cache answered say nothing to a client.
NOISE = {"X-Cache", "X-Hub-Cache", "Server", "Vary"}


def replay(origin: Origin, exchange: dict[str, Any]) -> requests.Response:
    path = exchange.get("path") or urlsplit(exchange["url"]).path
    headers = {}
    if "Authorization" in exchange.get("request_headers", {}):
        headers["Authorization"] = f"Bearer {origin.huggingface.token}"
    with requests.Session() as session:
        session.trust_env = False
        return session.request(
            exchange["method"],
            origin.huggingface_url + path,
            headers=headers,
            allow_redirects=False,
        )


@pytest.mark.parametrize("name", recorded.names("huggingface", "exchange_"))
def test_the_hub_answers_as_recorded(origin: Origin, name: str) -> None:
    exchange = recorded.load("huggingface", name)
    answer = replay(origin, exchange)
    assert answer.status_code == exchange["status"]
    expected = {
        header.title(): values[0] for header, values in exchange["response_headers"].items()
    }
    if exchange["status"] >= 400:
        expected.pop("Etag", None)
    actual = {header.title(): value for header, value in answer.headers.items()}
    for header in expected.keys() - OURS - NOISE:
        assert actual.get(header) == expected[header], header
    for header in expected.keys() & {"Location", "X-Linked-Etag", "X-Xet-Hash", "Ratelimit"}:
        assert actual[header], header
    text = exchange.get("response_body_text") or exchange.get("response_body", {}).get("text")
    if text and "redacted" not in text:
        assert answer.text.encode() == text.encode()


def test_redirects_of_renamed_repositories_are_the_recorded_ones(origin: Origin) -> None:
    for name in recorded.names("huggingface", "exchange_307"):
        exchange = recorded.load("huggingface", name)
        answer = replay(origin, exchange)
        assert answer.headers["Location"] == exchange["response_headers"]["Location"][0]


@pytest.mark.parametrize("name", recorded.names("civitai", "model_"))
def test_a_model_has_the_recorded_keys_and_values(origin: Origin, name: str) -> None:
    model = recorded.load("civitai", name)
    answer = requests.get(f"{origin.civitai_url}/api/v1/models/{model['id']}", timeout=10).json()
    assert without_patches(answer) == without_patches(model)


@pytest.mark.parametrize("name", recorded.names("civitai", "version_"))
def test_a_version_has_the_recorded_keys_and_values(origin: Origin, name: str) -> None:
    version = recorded.load("civitai", name)
    url = f"{origin.civitai_url}/api/v1/model-versions/{version['id']}"
    assert without_patches(requests.get(url, timeout=10).json()) == without_patches(
        version, version=True
    )


PATCHED = {"sizeKB", "downloadUrl", "url", "image"}


def without_patches(value: Any, *, version: bool = False) -> Any:
    """The answer without sizes, links and digests; their keys stay."""
    if isinstance(value, list):
        return [without_patches(item, version=version) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {
        key: None if key in PATCHED else without_patches(item, version=version)
        for key, item in value.items()
    }
    if "hashes" in plain and isinstance(plain["hashes"], dict) and "sizeKB" in plain:
        plain["hashes"] = sorted(set(plain["hashes"]) - {"BLAKE3"})
        if version:
            plain["primary"] = bool(plain.get("primary"))
    return plain


@pytest.mark.parametrize(
    "name",
    [name for name in recorded.names("huggingface", "model_") if "expand" not in name],
)
def test_model_information_has_the_recorded_keys_and_values(origin: Origin, name: str) -> None:
    info = recorded.load("huggingface", name)
    url = f"{origin.huggingface_url}/api/models/{info['id']}?blobs=true"
    headers = {"Authorization": f"Bearer {origin.huggingface.token}"}
    answer = requests.get(url, headers=headers, timeout=10).json()
    assert {key: value for key, value in answer.items() if key != "siblings"} == {
        key: value for key, value in info.items() if key != "siblings"
    }
    for sent, kept in zip(answer["siblings"], info["siblings"], strict=True):
        assert sent["rfilename"] == kept["rfilename"]
        if "size" in kept:
            assert sent.keys() == kept.keys()


def test_the_recorded_small_file_comes_byte_for_byte(origin: Origin) -> None:
    tree = recorded.load("huggingface", "tree_wzshiming_test_recursive_lfs_xet_2026")
    content = origin.huggingface.file("wzshiming/test", "regression/ref-regular.txt")
    entry = next(e for e in tree if e["path"] == "regression/ref-regular.txt")
    assert (content.git_sha1, content.size_bytes) == (entry["oid"], entry["size"])


def test_errors_of_civitai_are_the_recorded_ones(origin: Origin) -> None:
    url = origin.civitai_url
    unknown = requests.get(f"{url}/api/v1/models/0", timeout=10)
    assert (unknown.status_code, unknown.json()) == (
        404, recorded.load("civitai", "error_404_model_not_found"),
    )  # fmt: skip
    nobody = requests.get(f"{url}/api/v1/me", timeout=10)
    assert (nobody.status_code, nobody.json()) == (
        401,
        recorded.load("civitai", "error_401_unauthorized"),
    )

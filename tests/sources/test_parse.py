"""Every form of a link and an id, what it means, and that it prints back to itself."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sources.errors import ReferenceNotUnderstood
from sources.parse import MAX_REFERENCE_LENGTH, parse_reference
from sources.refs import (
    MAX_CIVITAI_ID,
    CivitaiReference,
    DirectReference,
    Endpoints,
    FileChoice,
    HuggingFaceReference,
    Reference,
)
from transfer.errors import UrlNotAllowed

PUBLIC = Endpoints()
SHA = "f47e942ad4c30d863ad7f53cb60145ffcd2118845dfa705ce8bd6b42e90c4a13"


def civitai(
    model: int | None = None, version: int | None = None, file: int | None = None, **choice: str
) -> CivitaiReference:
    return CivitaiReference(
        model_id=model, version_id=version, file_id=file, choice=FileChoice(**choice)
    )


def hub(
    repo: str, revision: str = "main", path: str = "", **fields: object
) -> HuggingFaceReference:
    return HuggingFaceReference(repo=repo, revision=revision, path=path, **fields)  # type: ignore[arg-type]


CIVITAI_FORMS = [
    ("https://civitai.com/models/4201", civitai(4201)),
    ("http://civitai.com/models/4201", civitai(4201)),
    ("https://www.civitai.com/models/4201/", civitai(4201)),
    ("HTTPS://CivitAI.com/models/4201", civitai(4201)),
    ("https://civitai.com:443/models/4201", civitai(4201)),
    ("civitai.com/models/4201", civitai(4201)),
    ("www.civitai.com/models/4201/slug", civitai(4201)),
    ("https://civitai.red/models/4201/realistic-vision-v60-b1", civitai(4201)),
    ("https://www.civitai.red/models/4201", civitai(4201)),
    ("https://civitai.green/models/4201", civitai(4201)),
    ("https://civitaired.com/models/4201", civitai(4201)),
    ("https://civitai.com/models/4201/slug/reviews#comments", civitai(4201)),
    ("https://civitai.com/models/4201?modelVersionId=501240", civitai(4201, 501240)),
    (
        "https://civitai.com/models/4201/slug?modelVersionId=501240&utm_source=x",
        civitai(4201, 501240),
    ),
    ("https://civitai.com/models/4201?foo=bar&token=canary", civitai(4201)),
    (
        "https://civitai.com/models/4201?modelVersionId=501240&fileId=418901",
        civitai(4201, 501240, 418901),
    ),
    ("  https://civitai.com/models/4201\n", civitai(4201)),
    ("https://civitai.com/model-versions/501240", civitai(None, 501240)),
    ("https://civitai.com/api/download/models/501240", civitai(None, 501240)),
    ("https://civitai.com/api/download/models/501240?token=canary", civitai(None, 501240)),
    ("https://civitai.com/api/download/models/501240?fileId=418901", civitai(None, 501240, 418901)),
    (
        "https://civitai.com/api/download/models/6223?type=Model&format=PickleTensor&size=full&fp=fp16",
        civitai(None, 6223, type="Model", format="PickleTensor", size="full", fp="fp16"),
    ),
    (
        "https://civitai.com/api/download/models/7?quantType=Q8_0",
        civitai(None, 7, quant_type="Q8_0"),
    ),
    (
        "https://civitai.com/api/download/models/7?type=Text%20Encoder",
        civitai(None, 7, type="Text Encoder"),
    ),
    ("https://civitai.com/api/v1/models/4201", civitai(4201)),
    ("https://civitai.com/api/v1/model-versions/501240", civitai(None, 501240)),
    ("https://civitai.com/api/v1/model-versions/mini/501240", civitai(None, 501240)),
    (
        f"https://civitai.com/api/v1/model-versions/by-hash/{SHA.upper()}",
        CivitaiReference(sha256=SHA),
    ),
    ("https://civarchive.com/models/1746460?modelVersionId=1976567", civitai(1746460, 1976567)),
    ("https://civitaiarchive.com/models/1746460", civitai(1746460)),
    ("https://civarchive.com/api/models/1746460?modelVersionId=1976567", civitai(1746460, 1976567)),
    ("https://civarchive.com/api/download/models/1976567", civitai(None, 1976567)),
    (f"https://civarchive.com/sha256/{SHA}", CivitaiReference(sha256=SHA)),
    (f"https://civarchive.com/api/sha256/{SHA}", CivitaiReference(sha256=SHA)),
    ("urn:air:sd1:checkpoint:civitai:4201@501240", civitai(4201, 501240)),
    ("URN:AIR:SD1:Checkpoint:CivitAI:4201@501240", civitai(4201, 501240)),
    ("air:sdxl:lora:civitai:328553@368189", civitai(328553, 368189)),
    ("sdxl:lora:civitai:328553", civitai(328553)),
    ("lora:civitai:328553", civitai(328553)),
    ("civitai:328553@368189", civitai(328553, 368189)),
    ("urn:air:civitai:328553@368189", civitai(328553, 368189)),
    ("urn:air:flux1:text_encoders:civitai:1@2+3", civitai(1, 2, 3)),
    ("urn:air:flux1:lora:civitai:1@2+3.safetensors", civitai(1, 2, 3, format="SafeTensor")),
    ("urn:air:sd1:checkpoint:civitai:1@2.ckpt", civitai(1, 2, format="PickleTensor")),
    ("urn:air:sd1:checkpoint:civitai-r2:1@2", civitai(1, 2)),
    ("12345", civitai(12345)),
    ("12345@67890", civitai(12345, 67890)),
    (str(MAX_CIVITAI_ID), civitai(MAX_CIVITAI_ID)),
]

COMMIT = "bcf51b2ec6fb5bc8215f4b365a0e48532e26abb8"
HUB_FORMS = [
    ("https://huggingface.co/stabilityai/sdxl-turbo", hub("stabilityai/sdxl-turbo")),
    ("https://www.huggingface.co/stabilityai/sdxl-turbo/", hub("stabilityai/sdxl-turbo")),
    ("huggingface.co/stabilityai/sdxl-turbo", hub("stabilityai/sdxl-turbo")),
    ("https://hf.co/stabilityai/sdxl-turbo", hub("stabilityai/sdxl-turbo")),
    ("https://hf-mirror.com/stabilityai/sdxl-turbo", hub("stabilityai/sdxl-turbo")),
    ("https://huggingface.co/stabilityai/sdxl-turbo.git", hub("stabilityai/sdxl-turbo")),
    (
        "https://huggingface.co/stabilityai/sdxl-turbo?not-for-all-audiences=true",
        hub("stabilityai/sdxl-turbo"),
    ),
    ("https://huggingface.co/gpt2", hub("gpt2")),
    (
        "https://huggingface.co/gpt2/blob/main/model.safetensors",
        hub("gpt2", path="model.safetensors"),
    ),
    ("https://huggingface.co/o/n/tree/main", hub("o/n")),
    ("https://huggingface.co/o/n/tree/fp16", hub("o/n", "fp16")),
    ("https://huggingface.co/o/n/tree/main/unet", hub("o/n", path="unet", is_folder=True)),
    ("https://huggingface.co/o/n/tree/refs%2Fpr%2F1", hub("o/n", "refs/pr/1")),
    (
        "https://huggingface.co/o/n/tree/refs/pr/1/unet",
        hub("o/n", "refs/pr/1", "unet", is_folder=True),
    ),
    ("https://huggingface.co/o/n/blob/refs%2Fpr%2F1/a/b.bin", hub("o/n", "refs/pr/1", "a/b.bin")),
    ("https://huggingface.co/o/n/blob/main/a%20b.safetensors", hub("o/n", path="a b.safetensors")),
    (
        "https://huggingface.co/o/n/resolve/main/x.safetensors?download=true",
        hub("o/n", path="x.safetensors"),
    ),
    (f"https://huggingface.co/o/n/raw/{COMMIT}/x.json", hub("o/n", COMMIT, "x.json")),
    ("https://huggingface.co/o/n/blame/main/x.json", hub("o/n", path="x.json")),
    (f"https://huggingface.co/o/n/commit/{COMMIT}", hub("o/n", COMMIT)),
    ("https://huggingface.co/api/models/o/n", hub("o/n")),
    ("https://huggingface.co/api/models/o/n/revision/dev", hub("o/n", "dev")),
    (
        "https://huggingface.co/api/models/o/n/tree/dev/unet",
        hub("o/n", "dev", "unet", is_folder=True),
    ),
    (
        "https://huggingface.co/datasets/o/n/blob/main/x.safetensors",
        hub("o/n", path="x.safetensors", repo_type="dataset"),
    ),
    ("hf://o/n", hub("o/n")),
    ("hf://models/o/n@v1/a/b.gguf", hub("o/n", "v1", "a/b.gguf")),
    ("hf://o/n@refs%2Fpr%2F3/x.bin", hub("o/n", "refs/pr/3", "x.bin")),
    ("hf://o/n@refs/pr/3/x.bin", hub("o/n", "refs/pr/3", "x.bin")),
    ("hf://datasets/o/n/x.zip", hub("o/n", path="x.zip", repo_type="dataset")),
    ("stabilityai/sdxl-turbo", hub("stabilityai/sdxl-turbo")),
    ("black-forest-labs/FLUX.1-dev", hub("black-forest-labs/FLUX.1-dev")),
    ("o/n@fp16", hub("o/n", "fp16")),
    ("o/n@refs/pr/2", hub("o/n", "refs/pr/2")),
    ("o/n:unet/x.safetensors", hub("o/n", path="unet/x.safetensors")),
    ("o/n@dev:x.safetensors", hub("o/n", "dev", "x.safetensors")),
    (
        "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:IQ3_M",
        hub("bartowski/Llama-3.2-1B-Instruct-GGUF", quant="IQ3_M"),
    ),
    ("https://huggingface.co/o/n:Q4_K_M", hub("o/n", quant="Q4_K_M")),
    ("hf.co/o/n:model-q4.gguf", hub("o/n", path="model-q4.gguf")),
    ("urn:air:sdxl:checkpoint:huggingface:o/n@main", hub("o/n")),
    ("urn:air:flux1:lora:huggingface:o/n", hub("o/n")),
    ("huggingface:o/n@v1.safetensors", hub("o/n", "v1")),
    (
        "urn:air:flux1:controlnet:huggingface:o/n/main/a/x.safetensors",
        hub("o/n", "main", "a/x.safetensors"),
    ),
]

DIRECT_FORMS = [
    ("https://example.com/a.safetensors", "https://example.com/a.safetensors"),
    ("HTTP://Example.COM:80/a b.ckpt#x", "http://example.com/a%20b.ckpt"),
    ("https://example.com/a?sig=1", "https://example.com/a?sig=1"),
    ("https://civitai.com:8443/models/1", "https://civitai.com:8443/models/1"),
    ("https://image.civitai.com/x/y.jpeg", "https://image.civitai.com/x/y.jpeg"),
    ("https://notcivitai.com/models/1", "https://notcivitai.com/models/1"),
    ("https://civitai.com.evil.example/models/1", "https://civitai.com.evil.example/models/1"),
    ("https://cdn-lfs.huggingface.co/x", "https://cdn-lfs.huggingface.co/x"),
]

ALL_FORMS: list[tuple[str, Reference]] = [
    *CIVITAI_FORMS,
    *HUB_FORMS,
    *((text, DirectReference(url)) for text, url in DIRECT_FORMS),
]


@pytest.mark.parametrize(("text", "expected"), ALL_FORMS, ids=[text for text, _ in ALL_FORMS])
def test_a_form_means_its_reference_and_prints_back_to_itself(
    text: str, expected: Reference
) -> None:
    reference = parse_reference(text, PUBLIC)

    assert reference == expected
    assert parse_reference(str(reference), PUBLIC) == reference
    assert "canary" not in str(reference)
    assert "canary" not in repr(reference)


NOT_UNDERSTOOD = [
    "",
    "   ",
    "hello",
    "hello world",
    "https://civitai.com/" + "x" * 10_000,
    "https://civitai.com/models/\x00",
    "https://civitai.com/models/1\r\nHost: x",
    "\ufeffhttps://civitai.com/models/1",
    "https://civitai.com/models/\u202e1",
    "\udcff\udcfe",
    "https://civitai.com",
    "https://civitai.com/models",
    "https://civitai.com/models?query=anime",
    "https://civitai.com/search/models?query=x",
    "https://civitai.com/models/train",
    "https://civitai.com/images/56547310",
    "https://civitai.com/posts/12/slug",
    "https://civitai.com/gallery/12",
    "https://civitai.com/user/someone",
    "https://civitai.com/api/download/training-data/243508",
    "https://civitai.com/models/0",
    "https://civitai.com/models/2147483648",
    "https://civitai.com/models/1?modelVersionId=99999999999999999999999999",
    "https://civitai.com/models/1?modelVersionId=abc",
    "https://civitai.com/model-versions/-1",
    "https://civitai.com/models/\u0661\u0662",
    "https://civitai.com/api/v1/model-versions/by-hash/F47E942AD4",
    "https://civitai.com/api/v1/models?query=x",
    "https://civarchive.com/tensorart/models/904473536033245448",
    "2147483648",
    "0",
    "urn:air:sdxl:lora:civitai:",
    "urn:air:sdxl:lora:nowhere:1@2",
    "urn:air:sdxl:lora:orchestrator:1@2",
    "urn:air:sdxl:lora:civitai-r2:bucket/file",
    "https://huggingface.co",
    "https://huggingface.co/models?search=x",
    "https://huggingface.co/spaces/o/n",
    "https://huggingface.co/docs/hub/index",
    "https://huggingface.co/datasets/o/n",
    "https://huggingface.co/datasets/o/n/tree/main/folder",
    "https://huggingface.co/o/n/discussions/3",
    "https://huggingface.co/o/n/blob/main",
    "https://huggingface.co/o/n/blob/main/../../x",
    "https://huggingface.co/o/n/blob/main/%2e%2e/x",
    "https://huggingface.co/o/n/blob/main/a%5Cb",
    "https://huggingface.co/o/n/blob/main/a%00b",
    "https://huggingface.co/o/..",
    "hf://spaces/o/n",
    "hf://buckets/o/n",
    "hf://gpt2",
    "example.com/file.safetensors",
    "example.com/folder",
    "o/n/m",
    "../etc/passwd",
    "C:\\models\\x.safetensors",
    "javascript:alert(1)",
    "\U0001f600",
]


@pytest.mark.parametrize("text", NOT_UNDERSTOOD, ids=range(len(NOT_UNDERSTOOD)))
def test_what_is_not_understood_names_the_accepted_forms(text: str) -> None:
    with pytest.raises(ReferenceNotUnderstood) as caught:
        parse_reference(text, PUBLIC)

    assert "Enter a valid http(s) URL (at most 2048 characters)" in caught.value.message
    assert "https://civitai.com/models/ID" in caught.value.details["accepted"]
    assert caught.value.http_status == 400


@pytest.mark.parametrize(
    "text",
    [
        "ftp://example.com/x",
        "file:///etc/passwd",
        "https://user:pass@civitai.com/models/1",
        "https://civitai.com@evil.example/models/1",
        "http://a\\@b/",
        "https://",
        "https:///x",
        "//civitai.com/models/1",
        "https://ex ample.com/",
        "https://\U0001f600.example/x",
    ],
)
def test_links_that_are_never_fetched_are_refused(text: str) -> None:
    with pytest.raises(UrlNotAllowed):
        parse_reference(text, PUBLIC)


def test_an_archive_page_says_training_data_is_no_model() -> None:
    with pytest.raises(ReferenceNotUnderstood, match="training data, not a model"):
        parse_reference("https://civitai.com/api/download/training-data/1", PUBLIC)


def test_links_of_a_configured_endpoint_are_that_service() -> None:
    endpoints = Endpoints(
        civitai="http://127.0.0.1:8101/", huggingface="http://hub.internal:8102/hf"
    )

    assert parse_reference("http://127.0.0.1:8101/models/5?modelVersionId=6", endpoints) == civitai(
        5, 6
    )
    assert parse_reference("http://hub.internal:8102/hf/o/n", endpoints) == hub("o/n")
    assert parse_reference("https://civitai.com/models/5", endpoints) == civitai(5)
    assert isinstance(
        parse_reference("http://hub.internal:8102/other/o/n", endpoints), DirectReference
    )
    assert isinstance(parse_reference("http://127.0.0.1:8102/o/n", endpoints), DirectReference)


def test_one_host_may_play_both_services() -> None:
    endpoints = Endpoints(civitai="http://127.0.0.1:9000", huggingface="http://127.0.0.1:9000")

    assert parse_reference("http://127.0.0.1:9000/models/5", endpoints) == civitai(5)
    assert parse_reference("http://127.0.0.1:9000/o/n/blob/main/x.bin", endpoints) == hub(
        "o/n", path="x.bin"
    )


def test_a_token_goes_to_the_endpoint_only() -> None:
    private = Endpoints(civitai="http://127.0.0.1:8101")
    credential = private.credential("civitai", "canary-token")

    assert {origin.host for origin in credential.origins} == {"127.0.0.1"}
    assert {origin.host for origin in PUBLIC.origins("huggingface")} == {"huggingface.co"}
    assert all(origin.scheme == "https" for origin in PUBLIC.origins("civitai"))
    assert "canary-token" not in repr(credential)


@pytest.mark.parametrize(
    ("url", "has_secret"),
    [
        ("https://example.com/a.bin", False),
        ("https://example.com/a.bin?download=true", False),
        ("https://example.com/a.bin?X-Amz-Signature=canary", True),
        ("https://example.com/a.bin?token=canary", True),
        ("https://example.com/a.bin?canary", True),
        ("https://example.com/a.bin?file=" + "canary" * 30, True),
    ],
)
def test_a_query_that_may_be_a_secret_is_never_shown(url: str, has_secret: bool) -> None:
    reference = parse_reference(url, PUBLIC)

    assert reference.has_secret is has_secret
    assert "canary" not in reference.display + repr(reference) + reference.page_url


ids = st.integers(min_value=1, max_value=MAX_CIVITAI_ID)
words = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=40)
words = words.map(str.strip).filter(bool)
choices = st.builds(
    FileChoice, type=words, format=words | st.just(""), size=words, fp=words, quant_type=words
)
plain = st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="/\\")
parts = st.text(plain, min_size=1, max_size=20).filter(lambda part: part not in {".", ".."})
names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,20}\Z")


@given(model=st.none() | ids, version=ids, file=st.none() | ids, choice=choices)
def test_any_civitai_reference_prints_back_to_itself(
    model: int | None, version: int, file: int | None, choice: FileChoice
) -> None:
    reference = CivitaiReference(model_id=model, version_id=version, file_id=file, choice=choice)
    _round_trip(reference)


@given(
    names,
    names,
    st.lists(parts, min_size=1, max_size=3),
    st.lists(parts, max_size=3),
    st.booleans(),
)
def test_any_repository_reference_prints_back_to_itself(
    owner: str, name: str, revision: list[str], path: list[str], folder: bool
) -> None:
    _round_trip(
        HuggingFaceReference(
            repo=f"{owner}/{name}",
            revision="/".join(revision),
            path="/".join(path),
            is_folder=folder and bool(path),
        )
    )


def _round_trip(reference: Reference) -> None:
    assume(len(str(reference)) <= MAX_REFERENCE_LENGTH)
    assert parse_reference(str(reference), PUBLIC) == reference


@given(
    st.text(max_size=80)
    | st.text(max_size=60).map("https://civitai.com/".__add__)
    | st.text(max_size=60).map("https://huggingface.co/o/n/".__add__)
    | st.text(max_size=40).map("urn:air:".__add__)
)
def test_any_text_is_a_reference_that_prints_back_or_a_clear_error(text: str) -> None:
    with suppress(ReferenceNotUnderstood, UrlNotAllowed):
        reference = parse_reference(text, PUBLIC)
        assert parse_reference(str(reference), PUBLIC) == reference

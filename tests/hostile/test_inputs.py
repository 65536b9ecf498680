"""B1-B3, B9, B12-B14: input that makes no sense, at the API, the page, the console, pull and parse.

Every route and field is met in tests/test_bad_inputs.py; here stand the rows by name.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from config.errors import ModelyardError
from downloads.models import Download
from sources.parse import parse_reference
from tests.factories import make_admin, make_download
from tests.hostile.doors import Doors
from tests.hostile.stage import LORA, Stage
from tokens import clients
from tokens.models import ApiToken


def row(number: str, *values: Any) -> Any:
    return pytest.param(*values, id=number)


LINKS = [
    row("B1-empty", ""),
    row("B1-spaces", "     "),
    row("B1-tabs", "\t\n"),
    row("B1-10000-characters", "https://example.com/" + "x" * 10_000),
    row("B1-2049-characters", "https://example.com/" + "x" * 2029),
    row("B1-byte-order-mark", "\ufeffhttps://civitai.com/models/1"),
    row("B1-nul", "https://civitai.com/models/1\x00"),
    row("B1-nul-encoded-host", "https://civitai.com%00.example.com/models/1"),
    row("B1-line-break", "https://civitai.com/models/1\r\nX-Forged: 1"),
    row("B1-emoji-host", "https://😀.example/x.safetensors"),
    row("B1-emoji", "😀"),
    row("B1-word", "hello"),
    row("B1-path", "../../etc/passwd"),
    row("B1-windows-path", "C:\\models\\x.safetensors"),
    row("B1-html", "<script>alert(1)</script>"),
    row("B1-sql", "' OR 1=1 --"),
    row("B1-template", "{{7*7}}${7*7}%s%n"),
    row("B1-number-of-another-script", "https://civitai.com/models/١٢"),
    row("B2-search", "https://civitai.com/search/models?query=x"),
    row("B2-list", "https://civitai.com/models"),
    row("B2-image", "https://civitai.com/images/1"),
    row("B2-id-zero", "https://civitai.com/models/0"),
    row("B2-id-too-large", "https://civitai.com/models/2147483648"),
    row("B2-id-negative", "https://civitai.com/models/-1"),
    row("B2-version-word", "https://civitai.com/models/1?modelVersionId=abc"),
    row("B2-version-long", "https://civitai.com/models/1?modelVersionId=" + "9" * 100),
    row("B2-training-data", "https://civitai.com/api/download/training-data/1"),
    row("B2-air-unknown", "urn:air:sdxl:lora:nowhere:1@2"),
    row("B2-air-incomplete", "urn:air:sdxl"),
    row("B3-space", "https://huggingface.co/spaces/o/n"),
    row("B3-data-set", "https://huggingface.co/datasets/o/n"),
    row("B3-models-list", "https://huggingface.co/models?search=x"),
    row("B3-no-file", "https://huggingface.co/o/n/blob/main"),
    row("B3-climbs", "https://huggingface.co/o/n/resolve/main/../../../x"),
    row("B3-climbs-encoded", "https://huggingface.co/o/n/resolve/main/%2e%2e/x"),
    row("B3-climbing-owner", "https://huggingface.co/../n"),
    row("B3-nul", "https://huggingface.co/o/n/blob/main/a%00b"),
    row("B3-discussion", "https://huggingface.co/o/n/discussions/1"),
    row("B3-three-parts", "a/b/c"),
]  # fmt: skip


@pytest.mark.parametrize("text", LINKS)
def test_a_link_that_is_none_is_a_400_that_names_the_field(doors: Doors, text: str) -> None:
    for path in ("", "/resolve", "/check-duplicate"):
        answer = doors.post(path, url=text)
        assert answer.status_code == 400, answer.data
        assert "url" in answer.data["details"], answer.data
        assert len(json.dumps(answer.data)) < 4000
    assert doors.pull(text).exit_code == 2
    shown = doors.page.post("/downloads/resolve", {"url": text})
    assert shown.status_code == (400 if "\0" in text else 200)
    with pytest.raises(ModelyardError) as caught:
        parse_reference(text, clients.endpoints())
    assert caught.value.code in {"reference_not_understood", "url_not_allowed"}
    assert not Download.objects.exists()


@pytest.mark.parametrize("text", [row("B1-console-empty", ""), row("B1-console-file", "file:///etc/passwd"),
                                  row("B1-console-nul", "https://x\x00"), row("B1-console-long", "x" * 3000)])  # fmt: skip
def test_the_console_says_it_beside_the_field(db: None, text: str) -> None:
    console = Client()
    console.force_login(make_admin())
    form = {"url": text, "on_duplicate": "link", "priority": "2"}
    answer = console.post("/admin/downloads/download/add/", form)
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not Download.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        row("B1-invalid-utf-8", b'{"url": "https://\xff\xfe/x"}'),
        row("B1-utf-16", '{"url": "o/n"}'.encode("utf-16")),
        row("B1-half-a-character", b'{"url": "\\ud800"}'),
        row("B12-deep", b'{"url":' * 1000 + b"1" + b"}" * 1000),
        row("B12-twice", b'{"url": "o/n", "url": "a/b"}'),
        row("B12-nan", b'{"url": "o/n", "priority": NaN}'),
        row("B12-infinity", b'{"url": "o/n", "priority": 1e999}'),
        row("B12-comment", b'{"url": "o/n"} // x'),
        row("B12-list", b'["o/n"]'),
        row("B12-text", b'"o/n"'),
        row("B12-null", b"null"),
    ],
)
def test_a_body_that_is_no_json_object_is_a_400(doors: Doors, body: bytes) -> None:
    for path in ("/api/downloads", "/api/downloads/resolve"):
        answer = doors.api.generic("POST", path, body, content_type="application/json")
        assert answer.status_code == 400, answer.content
        assert set(answer.json()) == {"code", "message", "details"}


# --- B2, B3: what the sources know or do not --------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "statuses"),
    [
        row("B2-page", "{civitai}/models/1", {200}),
        row(
            "B2-page-with-words",
            "{civitai}/models/1/some-name?utm_source=x&foo[]=1&foo[]=2#top",
            {200},
        ),
        row("B2-version", "{civitai}/models/1?modelVersionId=11", {200}),
        row("B2-download", "{civitai}/api/download/models/11?type=Model&format=SafeTensor", {200}),
        row("B2-air", "urn:air:sdxl:lora:civitai:1@11", {200}),
        row("B2-ids", "1@11", {200}),
        row("B2-deleted", "{civitai}/models/404404", {404}),
        row("B2-deleted-version", "{civitai}/models/1?modelVersionId=999", {404}),
        row("B2-deleted-file", "{civitai}/api/download/models/11?fileId=999", {404}),
        row("B3-repository", "made/b3", {200}),
        row("B3-tree", "{hub}/made/b3/tree/main", {200}),
        row("B3-blob", "{hub}/made/b3/blob/main/x_lora.safetensors", {200}),
        row("B3-resolve", "{hub}/made/b3/resolve/main/x_lora.safetensors?download=true", {200}),
        row("B3-missing-file", "{hub}/made/b3/blob/main/missing.safetensors", {404}),
        row("B3-missing-repository", "{hub}/made/nothing", {404}),
        row("B3-missing-revision", "{hub}/made/b3/tree/refs%2Fpr%2F9", {404}),
    ],
)
def test_what_exists_resolves_and_what_does_not_is_said(
    doors: Doors, wired: Stage, form: str, statuses: set[int]
) -> None:
    wired.civitai()
    wired.hub("made/b3", {"x_lora.safetensors": LORA, "README.md": b"# x"})
    url = form.format(civitai=wired.url("civitai"), hub=wired.url("hub"))
    answer = doors.post("/resolve", url=url)
    assert answer.status_code in statuses, answer.data
    if answer.status_code != 200:
        assert answer.data["code"] == "not_found_at_source"
        assert doors.pull(url).exit_code == 4


@pytest.mark.parametrize("count", [row("B3-200-files", 200), row("B3-3000-files", 3000)])
def test_a_repository_of_many_files_has_a_bounded_answer(
    doors: Doors, wired: Stage, count: int
) -> None:
    small = b"x" * 20
    contents = {f"part-{n:04}.safetensors": small for n in range(count)}
    began = time.monotonic()
    answer = doors.post("/resolve", url=wired.hub("made/many", contents))
    assert answer.status_code in {200, 422}, answer.data
    assert len(answer.content) < 2_000_000
    assert time.monotonic() - began < 30


# --- B9, B12, B14: values of other fields -----------------------------------------------------------

VALUES = [
    row("B9-63-digits", "expected_hash", "a" * 63),
    row("B9-65-digits", "expected_hash", "a" * 65),
    row("B9-other-letters", "expected_hash", "g" * 64),
    row("B9-zeros", "expected_hash", "0" * 64),
    row("B9-md5", "expected_hash", "a" * 32),
    row("B9-sha512", "expected_hash", "a" * 128),
    row("B9-prefix", "expected_hash", "md5:" + "a" * 32),
    row("B9-inner-space", "expected_hash", "a" * 32 + " " + "a" * 31),
    row("B9-full-width", "expected_hash", "ａ" * 64),
    row("B9-number", "expected_hash", 12),
    row("B9-list", "expected_hash", ["a" * 64]),
    row("B12-priority-0", "priority", 0),
    row("B12-priority-negative", "priority", -1),
    row("B12-priority-huge", "priority", 10**12),
    row("B12-priority-true", "priority", True),
    row("B12-priority-float", "priority", 2.5),
    row("B12-priority-list", "priority", [2]),
    row("B12-review-word", "review", "perhaps"),
    row("B12-review-object", "review", {}),
    row("B12-files-object", "files", {"a": 1}),
    row("B12-files-nested", "files", [["a"]]),
    row("B12-files-many", "files", ["x"] * 501),
    row("B12-files-empty", "files", []),
    row("B12-file-null", "file_id", None),
    row("B12-name-object", "model_name", {"a": 1}),
    row("B12-name-long", "model_name", "x" * 301),
    row("B12-name-empty", "model_name", ""),
    row("B12-base-model-long", "base_model", "x" * 101),
    row("B12-duplicate-word", "on_duplicate", "destroy"),
    row("B12-type-list", "model_type", ["lora"]),
]


@pytest.mark.parametrize(("field", "value"), VALUES)
def test_a_value_that_does_not_fit_is_a_400_that_names_its_field(
    doors: Doors, wired: Stage, field: str, value: Any
) -> None:
    url = wired.civitai()
    answer = doors.post("", url=url, **{field: value})
    assert (answer.status_code, answer.data["code"]) == (400, "invalid"), answer.data
    assert field in answer.data["details"]
    assert not Download.objects.exists()
    if isinstance(value, str) and field != "review":
        assert doors.pull(url, **{field: value}).exit_code == 2


@pytest.mark.parametrize(
    "text",
    [row("B9-upper", str.upper), row("B9-spaces", lambda t: f"  {t} "), row("B9-lower", str.lower)],
)
def test_a_digest_in_another_spelling_is_the_same(doors: Doors, wired: Stage, text: Any) -> None:
    answer = doors.post("", url=wired.civitai(), expected_hash=text(LORA.sha256))
    assert answer.status_code == 202, answer.data
    assert answer.data["expected_hash"] == LORA.sha256


POSITIONS = [0.5, -1, 10**12, True, "1; DROP TABLE", None, [1]]


@pytest.mark.parametrize(
    "position", [row(f"B12-position-{n}", value) for n, value in enumerate(POSITIONS)]
)
def test_a_place_in_the_queue_that_cannot_be(doors: Doors, position: Any) -> None:
    download = make_download("queued", initiated_by=doors.user)
    answer = doors.api.patch(f"/api/downloads/{download.pk}", {"position": position}, format="json")
    assert answer.status_code == 400, answer.data
    assert "position" in answer.data["details"]


TOKENS = [
    row("B13-empty", ""),
    row("B13-spaces", "   "),
    row("B13-line-break", "abcdefgh\r\nX-Forged: 1"),
    row("B13-inner-space", "abcd efgh ijkl"),
    row("B13-nul", "abcdefgh\x00"),
    row("B13-10-kb", "a" * 10_000),
    row("B13-unicode", "тоkеn-of-letters"),
    row("B13-emoji", "😀" * 20),
    row("B13-list", ["abcdefgh"]),
    row("B13-null", None),
]


@pytest.mark.parametrize("token", TOKENS)
def test_a_text_that_is_no_token_is_refused_and_not_repeated(
    doors: Doors, wired: Stage, token: Any
) -> None:
    answer = doors.api.post(
        "/api/user/api-tokens", {"service_name": "civitai", "token": token}, format="json"
    )
    assert answer.status_code == 400, answer.data
    assert "token" in answer.data["details"] or answer.data["details"].get("field") == "token"
    if isinstance(token, str) and token.strip():
        assert token.strip() not in json.dumps(answer.data, ensure_ascii=False)
    assert not ApiToken.objects.exists()
    assert wired.log.entries == []
    if isinstance(token, str):
        page = doors.page.post("/settings/tokens/civitai/save", {"token": token})
        assert page.status_code == 400


QUERIES = [
    row("B14-cursor", "cursor=junk"),
    row("B14-page-size", "page_size=-1"),
    row("B14-status", "status=junk"),
    row("B14-type", "model_type=' OR 1=1"),
    row("B14-nul", "search=%00"),
    row("B14-format", "cursor=%ff%fe"),
]


@pytest.mark.parametrize("query", QUERIES)
def test_junk_in_a_query_is_a_400(doors: Doors, query: str) -> None:
    answer = doors.api.get(f"/api/downloads?{query}")
    assert answer.status_code == 400, answer.content


@pytest.mark.parametrize(
    "text",
    [row("B14-sql", "' OR '1'='1"), row("B14-like", "%%%___"), row("B14-regex", "(((((a*)*)*)*)*$"),
     row("B14-escape", "\\\\%\\_"), row("B14-long", "a" * 200)],
)  # fmt: skip
def test_a_search_is_a_text_and_no_pattern(doors: Doors, user: User, text: str) -> None:
    make_download("queued", initiated_by=user, model_name="Plain name")
    began = time.monotonic()
    for path in ("/api/downloads", "/api/assets"):
        answer = doors.api.get(path, {"search": text})
        assert answer.status_code in {200, 400}
        if answer.status_code == 200:
            assert answer.data["results"] == []
    assert time.monotonic() - began < 5

"""What the origin does on the wire: tokens, links that run out, ranges, faults, and its log."""

from __future__ import annotations

import hashlib
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests

from tests.canaries import MARK
from tests.origin import Origin
from tests.origin import made_civitai as made
from tests.origin import made_huggingface as hub


def get(url: str, *, token: str = "", method: str = "GET", **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        named["Authorization"] = f"Bearer {token}"
    return requests.request(method, url, headers=named, allow_redirects=False, timeout=10)


def follow(url: str, *, token: str = "", **headers: str) -> requests.Response:
    """As a careful client does it: the token to the first host only."""
    answer = get(url, token=token, **headers)
    while answer.is_redirect:
        following = requests.compat.urljoin(answer.url, answer.headers["Location"])
        same = urlsplit(following).netloc == urlsplit(url).netloc
        answer = get(following, token=token if same else "", **headers)
    return answer


def download(origin: Origin, version: int, file_id: int | None = None) -> str:
    query = f"?fileId={file_id}" if file_id is not None else ""
    return f"{origin.civitai_url}/api/download/models/{version}{query}"


# --- CivitAI -------------------------------------------------------------------------------------
def test_published_digests_are_those_of_the_bytes_that_come(origin: Origin) -> None:
    version = get(f"{origin.civitai_url}/api/v1/model-versions/501240").json()
    for item in version["files"]:
        answer = follow(item["downloadUrl"])
        digest = hashlib.sha256(answer.content).hexdigest()
        assert (item["hashes"]["SHA256"], round(item["sizeKB"] * 1024)) == (
            digest.upper(), len(answer.content),
        )  # fmt: skip
        assert item["name"] in answer.headers["Content-Disposition"]
    assert len({item["hashes"]["SHA256"] for item in version["files"]}) == 2


def test_without_file_id_a_token_gets_another_file_than_the_primary(origin: Origin) -> None:
    url = download(origin, 501240)
    primary, other = origin.civitai.file(418901), origin.civitai.file(418904)
    assert follow(url).content == primary.read()
    assert follow(url, token=origin.civitai.token).content == other.read()


def test_a_linked_vae_is_found_by_type_and_not_by_id(origin: Origin) -> None:
    url = download(origin, made.LINKED_VAE)
    assert get(f"{url}?fileId={made.VAE_FILE}").status_code == 404
    assert follow(f"{url}?type=VAE").content == origin.civitai.file(made.VAE_FILE).read()


@pytest.mark.parametrize(
    ("version", "token", "status", "text"),
    [
        (made.TOKEN_LORA, "", 401, "requires you to be logged in"),
        (made.TOKEN_LORA, "wrong", 401, "requires you to be logged in"),
        (made.TOKEN_LORA, "user", 307, ""),
        (made.DISABLED, "user", 401, "has disabled downloads"),
        (made.EARLY_ACCESS, "", 403, "Early Access"),
        (made.EARLY_ACCESS, "user", 403, "Early Access"),
        (made.EARLY_ACCESS, "paid", 307, ""),
        (made.PAID_FOREVER, "user", 403, "Early Access"),
        (made.GONE, "user", 404, "File not found"),
        (106848, "", 410, "archived"),
        (14937, "", 404, "File not found"),
        (999999, "", 404, "File not found"),
    ],
)  # fmt: skip
def test_the_download_route_refuses_as_it_does(
    origin: Origin, version: int, token: str, status: int, text: str
) -> None:
    tokens = {
        "": "",
        "wrong": "f" * 32,
        "user": origin.civitai.token,
        "paid": origin.civitai.paid_token,
    }
    answer = get(download(origin, version), token=tokens[token])
    assert answer.status_code == status
    assert text in answer.text


def test_early_access_ends_by_itself(origin: Origin) -> None:
    origin.civitai.end_early_access_in(-1)
    model = get(f"{origin.civitai_url}/api/v1/models/{made.EARLY_ACCESS_MODEL}").json()
    assert model["modelVersions"][0]["paidAccess"] is None
    assert get(download(origin, made.EARLY_ACCESS)).status_code == 307


def test_a_browser_is_sent_to_the_login_page(origin: Origin) -> None:
    answer = follow(download(origin, made.TOKEN_LORA), User_Agent="Mozilla/5.0")
    assert (answer.status_code, "Sign in" in answer.text) == (200, True)


def test_the_redirect_may_be_relative(origin: Origin) -> None:
    origin.civitai.relative_location = True
    answer = get(download(origin, made.CHECKPOINT_VERSION))
    assert answer.headers["Location"].startswith("/api/")
    content = origin.civitai.file(made.CHECKPOINT_FILE)
    assert follow(download(origin, made.CHECKPOINT_VERSION)).content == content.read()


def test_hashes_lead_to_versions_and_me_tells_tokens_apart(origin: Origin) -> None:
    api = f"{origin.civitai_url}/api/v1"
    content = origin.civitai.file(made.CHECKPOINT_FILE)
    assert (
        get(f"{api}/model-versions/by-hash/{content.sha256}").json()["id"]
        == made.CHECKPOINT_VERSION
    )
    assert get(f"{api}/me", token=origin.civitai.token).json()["username"] == "made_user"
    assert get(f"{api}/me", token="f" * 32).status_code == 401


def test_made_models_send_no_steering_keys(origin: Origin) -> None:
    answer = get(f"{origin.civitai_url}/api/v1/models?query=made:&limit=100")
    assert len(answer.json()["items"]) >= 25
    assert '"_' not in answer.text


def test_resize_changes_size_and_digest(origin: Origin) -> None:
    content = origin.civitai.resize(made.LARGE_FILE, 3_000_000)
    item = get(f"{origin.civitai_url}/api/v1/model-versions/{made.LARGE}").json()["files"][0]
    assert (item["sizeKB"] * 1024, item["hashes"]["SHA256"].lower()) == (3_000_000, content.sha256)


def test_previews_are_pictures(origin: Origin) -> None:
    model = get(f"{origin.civitai_url}/api/v1/models/5414").json()
    answer = get(model["modelVersions"][0]["images"][0]["url"])
    assert (answer.status_code, answer.content[:3]) == (200, b"\xff\xd8\xff")


# --- The CDN -------------------------------------------------------------------------------------
def test_the_cdn_refuses_any_authorization_header(origin: Origin) -> None:
    location = get(download(origin, made.CHECKPOINT_VERSION)).headers["Location"]
    assert urlsplit(location).netloc == urlsplit(origin.cdn_url).netloc
    assert get(location, token=origin.civitai.token).status_code == 400
    assert get(location).status_code == 200


def test_signed_links_run_out_and_cannot_be_changed(origin: Origin) -> None:
    location = get(download(origin, made.CHECKPOINT_VERSION)).headers["Location"]
    assert get(location.replace("X-Amz-Expires=86400", "X-Amz-Expires=99999")).status_code == 403
    assert get(location, method="HEAD").status_code == 403
    origin.cdn.expire_signatures()
    assert get(location).status_code == 403
    origin.cdn.ttl_s = 0
    assert follow(download(origin, made.CHECKPOINT_VERSION)).status_code == 403
    assert MARK in location


# --- The Hub -------------------------------------------------------------------------------------
def test_a_tree_comes_in_pages(origin: Origin) -> None:
    origin.huggingface.page_size = 20
    url = f"{origin.huggingface_url}/api/models/{hub.MANY_FILES}/tree/main?recursive=true"
    paths: list[str] = []
    for _ in range(10):
        answer = get(url)
        paths += [entry["path"] for entry in answer.json() if entry["type"] == "file"]
        if "next" not in answer.links:
            break
        url = answer.links["next"]["url"]
    assert sorted(paths) == sorted(origin.huggingface.paths(hub.MANY_FILES))


def test_a_tree_of_one_folder_lists_that_folder(origin: Origin) -> None:
    url = f"{origin.huggingface_url}/api/models/{hub.SNAPSHOT}/tree/main"
    top = [entry["path"] for entry in get(url).json()]
    assert "unet" in top
    assert "unet/config.json" not in top
    inner = {entry["path"] for entry in get(f"{url}/unet").json()}
    assert inner == {"unet/config.json", "unet/diffusion_pytorch_model.safetensors"}


def test_files_of_the_hub_arrive_and_match_what_is_published(origin: Origin) -> None:
    info = get(f"{origin.huggingface_url}/api/models/{hub.SNAPSHOT}?blobs=true").json()
    for sibling in info["siblings"]:
        url = f"{origin.huggingface_url}/{hub.SNAPSHOT}/resolve/main/{sibling['rfilename']}"
        body = follow(url).content
        assert len(body) == sibling["size"]
        if "lfs" in sibling:
            assert hashlib.sha256(body).hexdigest() == sibling["lfs"]["sha256"]
        else:
            blob = b"blob %d\0" % len(body) + body
            assert hashlib.sha1(blob, usedforsecurity=False).hexdigest() == sibling["blobId"]


def test_a_regular_file_by_branch_redirects_to_a_relative_path(origin: Origin) -> None:
    answer = get(f"{origin.huggingface_url}/{hub.SINGLE}/resolve/main/README.md")
    assert (answer.status_code, answer.headers["Location"][:27]) == (
        307,
        "/api/resolve-cache/models/m",
    )


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        (f"/{hub.GATED}/resolve/main/made_gated_sdxl.safetensors", "", 401, "GatedRepo"),
        (f"/{hub.GATED}/resolve/main/made_gated_sdxl.safetensors", "other", 403, "GatedRepo"),
        (f"/{hub.GATED}/resolve/main/made_gated_sdxl.safetensors", "user", 302, None),
        (f"/api/models/{hub.GATED}", "", 200, None),
        (f"/api/models/{hub.PRIVATE}", "", 401, None),
        (f"/api/models/{hub.PRIVATE}", "other", 404, "RepoNotFound"),
        (f"/api/models/{hub.PRIVATE}", "user", 200, None),
        ("/api/models/no/such", "", 401, None),
        ("/api/models/no/such", "user", 404, "RepoNotFound"),
        (f"/api/models/{hub.SINGLE}", "wrong", 401, None),
        (f"/api/models/{hub.SINGLE}/revision/none", "", 404, "RevisionNotFound"),
        (f"/api/models/{hub.SINGLE}/revision/refs%2Fpr%2F1", "", 200, None),
        (f"/{hub.SINGLE}/resolve/refs%2Fpr%2F1/README.md", "", 307, None),
        (f"/{hub.SINGLE}/resolve/none/README.md", "", 404, "RevisionNotFound"),
        (f"/{hub.SINGLE}/resolve/main/none.txt", "", 404, "EntryNotFound"),
        ("/api/models/made/old-name", "", 307, None),
        ("/made/old-name/resolve/main/README.md", "", 307, None),
        ("/api/whoami-v2", "user", 200, None),
        ("/api/whoami-v2", "", 401, None),
    ],
)
def test_the_hub_says_who_may_see_what(
    origin: Origin, path: str, token: str, status: int, code: str | None
) -> None:
    hf = origin.huggingface
    tokens = {"": "", "wrong": "hf_wrong", "user": hf.token, "other": hf.other_token}
    answer = get(origin.huggingface_url + path, token=tokens[token])
    assert (answer.status_code, answer.headers.get("X-Error-Code")) == (status, code)
    assert "ratelimit" in answer.headers


def test_raw_of_a_large_file_is_its_pointer(origin: Origin) -> None:
    content = origin.huggingface.file(hub.SINGLE, "made_sdxl_lora.safetensors")
    answer = get(f"{origin.huggingface_url}/{hub.SINGLE}/raw/main/made_sdxl_lora.safetensors")
    assert answer.content == content.lfs_pointer


# --- Ranges --------------------------------------------------------------------------------------
def test_ranges_follow_rfc_9110(origin: Origin) -> None:
    content = origin.direct.file("a.safetensors")
    url, size = origin.direct.link("a.safetensors"), content.size_bytes
    etag = get(url, method="HEAD").headers["ETag"]
    part = get(url, Range="bytes=100-199")
    assert (part.status_code, part.content) == (206, content.read(100, 200))
    assert part.headers["Content-Range"] == f"bytes 100-199/{size}"
    assert get(url, Range="bytes=-10").content == content.read(size - 10)
    assert get(url, Range=f"bytes={size - 5}-").content == content.read(size - 5)
    beyond = get(url, Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert get(url, Range="bytes=0-9", If_Range=etag).status_code == 206
    assert get(url, Range="bytes=0-9", If_Range='"other"').status_code == 200
    weak = origin.direct.link("a.safetensors", "weak-etag")
    assert get(weak, Range="bytes=0-9", If_Range=f"W/{etag}").status_code == 200


@pytest.mark.parametrize(
    ("how", "header", "present"),
    [
        ("no-range", "Accept-Ranges", False), ("no-length", "Content-Length", False),
        ("no-etag", "ETag", False), ("weak-etag", "ETag", True), ("gzip", "Content-Encoding", True),
    ],
)  # fmt: skip
def test_plain_hosts_have_their_manners(
    origin: Origin, how: str, header: str, present: bool
) -> None:
    answer = get(origin.direct.link("a.safetensors", how), Range="bytes=5-")
    assert (header in answer.headers) is present
    if how in {"no-range", "no-length"}:
        assert answer.content == origin.direct.file("a.safetensors").read()


def test_a_secret_link_needs_its_key(origin: Origin) -> None:
    link = origin.direct.secret_link("a.safetensors")
    assert get(link).status_code == 200
    assert get(link.partition("?")[0]).status_code == 403


def test_redirects_end_or_do_not(origin: Origin) -> None:
    assert follow(f"{origin.direct_url}/moved/3/a.png").status_code == 200
    with pytest.raises(requests.TooManyRedirects):
        requests.get(f"{origin.direct_url}/loop", timeout=10)


# --- Faults and the log --------------------------------------------------------------------------
def test_the_next_answers_fail_and_then_it_goes_on(origin: Origin) -> None:
    fault = origin.faults.fail("/civitai/api/v1/*", status=429, times=2, retry_after=7)
    url = f"{origin.civitai_url}/api/v1/models/5414"
    assert [get(url).status_code for _ in range(3)] == [429, 429, 200]
    assert fault.hits == 3
    assert origin.log.find(status=429)[0].path == "/api/v1/models/5414"


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_is_dropped_once_at_that_byte(origin: Origin, reset: bool) -> None:
    origin.faults.drop("a.safetensors", at=50_000, reset=reset)
    url = origin.direct.link("a.safetensors")
    assert get(url, Range="bytes=0-0").status_code == 206  # a probe does not use it up
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(url)
    content = origin.direct.file("a.safetensors")
    assert origin.log.find(file_name="a.safetensors")[-1].bytes_sent == 50_000
    assert get(url, Range="bytes=50000-").content == content.read(50_000)
    assert origin.log.bytes_sent("a.safetensors") == content.size_bytes + 1


def test_a_byte_is_flipped_once(origin: Origin) -> None:
    origin.faults.flip("a.safetensors", at=70_000)
    url, content = origin.direct.link("a.safetensors"), origin.direct.file("a.safetensors").read()
    changed = get(url).content
    assert [i for i in range(len(content)) if content[i] != changed[i]] == [70_000]
    assert get(url).content == content


def test_a_slow_connection_takes_its_time(origin: Origin) -> None:
    origin.faults.slow("*.bin", 200_000)
    began = time.monotonic()
    assert len(get(origin.direct.sized_link("a.bin", 50_000)).content) > 49_000
    assert 0.2 < time.monotonic() - began < 5


def test_a_stalled_connection_goes_on_when_the_rule_ends(origin: Origin) -> None:
    stall = origin.faults.stall("a.safetensors", at=1000)
    timer = threading.Timer(0.2, stall.remove)
    timer.start()
    assert (
        get(origin.direct.link("a.safetensors")).content
        == origin.direct.file("a.safetensors").read()
    )
    timer.join()


def test_stopping_ends_a_stalled_connection() -> None:
    before = threading.active_count()
    with Origin() as origin:
        origin.faults.stall("*", at=1000)
        with requests.get(origin.direct.link("a.safetensors"), stream=True, timeout=10) as answer:
            assert len(answer.raw.read(1000)) == 1000
            began = time.monotonic()
            origin.stop()
    assert time.monotonic() - began < 5
    assert threading.active_count() == before


def test_etags_change_and_ranges_are_ignored_on_demand(origin: Origin) -> None:
    url = origin.direct.link("a.safetensors")
    etag = get(url, method="HEAD").headers["ETag"]
    change = origin.faults.change_etag("a.safetensors", '"new"')
    assert get(url, Range="bytes=5-", If_Range=etag).status_code == 200
    change.remove()
    origin.faults.ignore_range("a.safetensors", times=1)
    assert [get(url, Range="bytes=5-").status_code for _ in range(2)] == [200, 206]


def test_the_log_keeps_headers_and_bytes_of_each_file(origin: Origin) -> None:
    follow(download(origin, made.TOKEN_LORA, made.TOKEN_LORA_FILE), token=origin.civitai.token)
    asked, sent = origin.log.entries
    assert (asked.site, asked.authorization) == ("civitai", f"Bearer {origin.civitai.token}")
    assert (sent.site, sent.authorization) == ("cdn", "")
    content = origin.civitai.file(made.TOKEN_LORA_FILE)
    assert sent.file_name == content.name
    assert origin.log.bytes_sent(content.name) == content.size_bytes

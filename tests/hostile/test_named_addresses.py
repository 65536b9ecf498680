"""A9, A10: addresses that a source names, and what an answer tells about them."""

from __future__ import annotations

import base64
import socket
from typing import Any

import pytest

from registry.models import AssetPreview
from registry.previews import UNAVAILABLE, signed_preview_url
from tests.hostile.doors import Doors
from tests.hostile.listeners import Listeners
from tests.hostile.stage import LORA, Stage, answer_json
from tests.origin import files
from tests.origin.listener import Response


def row(value: Any, number: str) -> Any:
    return pytest.param(value, id=number)


# --- A9: addresses that a source names --------------------------------------------------------------

PICTURES = [
    row(
        [
            "http://127.0.0.1:{port}/1.png",
            "http://[::1]:{port}/1.png",
            "http://0x7f000001:{port}/1.png",
            "http://169.254.169.254/latest/meta-data/1.png",
            "{stranger}/to-loopback.png",
            "http://localhost:{port}/1.png",
        ],
        "A9-pictures-at-addresses",
    ),
    row(
        [
            "http://user:pass@{site}/1.png",
            "file:///etc/passwd",
            "data:image/png;base64,iVBORw0KGgo=",
            "//127.0.0.1:{port}/1.png",
            "http://127.0.0.1:{port}\\@{site}/1.png",
            "http://example.com:6379/1.png",
        ],
        "A9-pictures-in-other-forms",
    ),
]


@pytest.mark.parametrize("pictures", PICTURES)
def test_a_picture_at_a_forbidden_address_is_not_asked_for(
    puller: Doors, wired: Stage, listeners: Listeners, pictures: list[str]
) -> None:
    wired.redirect("/to-loopback.png", f"http://127.0.0.1:{listeners.port}/x", site="stranger")
    good = wired.file("/good.png", files.picture("good.png"), "stranger")
    fill = {
        "port": listeners.port,
        "site": wired.url("files")[7:],
        "stranger": wired.url("stranger"),
    }
    addresses = [picture.format(**fill) for picture in pictures]
    images = [{"url": address, "type": "image"} for address in [good, *addresses]]
    creator = {"username": "x", "image": addresses[0]}
    url = wired.civitai(version={"images": images}, model={"creator": creator})
    assert puller.post("/resolve", url=url).status_code == 200
    page = puller.show(url)
    assert not [address for address in addresses if f'src="{address}' in page]
    pulled = puller.pull(url)
    assert pulled.exit_code == 0, pulled
    previews = AssetPreview.objects.filter(asset=pulled.values["asset_id"]).order_by("position")
    # One good picture comes, or the rest would prove nothing.
    first, *others = ((preview.status, preview.error_message) for preview in previews)
    assert first == ("ready", "")
    assert set(others) <= {("failed", UNAVAILABLE)}
    # The pictures of a card and of a row are asked for through the same door.
    for address in addresses:
        assert puller.api.get(signed_preview_url(address)).status_code == 404


DOWNLOAD_URLS = [
    row("http://127.0.0.1:{port}/api/download/models/11", "A9-download-forbidden"),
    row("http://127.0.0.2:{port}/api/download/models/11", "A9-download-forbidden-host"),
    row("{stranger}/api/download/models/11", "A9-download-foreign"),
    row("https://civitai.com.example.org/api/download/models/11", "A9-download-look-alike"),
    row("https://x@civitai.com/api/download/models/11", "A9-download-user-info"),
    row("//{stranger_host}/api/download/models/11", "A9-download-no-scheme"),
    row("{civitai}/api/download/models/11/../../../../go?token=x", "A9-download-climbs"),
    row("{civitai}\\@{stranger_host}/api/download/models/11", "A9-download-backslash"),
    row("file:///etc/passwd", "A9-download-file"),
]


@pytest.mark.parametrize("address", DOWNLOAD_URLS)
def test_the_download_link_of_an_answer_leads_nowhere_else(
    doors: Doors, wired: Stage, listeners: Listeners, address: str
) -> None:
    said = address.format(
        port=listeners.port,
        stranger=wired.url("stranger"),
        stranger_host=wired.url("stranger")[7:],
        civitai=wired.url("civitai"),
    )
    wired.file("/api/download/models/11", LORA, "stranger")
    wired.redirect("/go", f"http://127.0.0.1:{listeners.port}/x", site="civitai")
    url = wired.civitai(file={"downloadUrl": said}, version={"downloadUrl": said})
    assert doors.post("", url=url).status_code == 202
    own = wired.url("civitai", "/api/download/models/11?")
    assert all(file.url.startswith(own) for file in doors.resolve(url).files)
    assert wired.log.find(site="civitai", match="/api/download/models/11")
    assert wired.log.find(site="stranger") == []
    assert wired.log.find(match="/go") == []


@pytest.mark.parametrize(
    "next_page",
    [
        row("http://127.0.0.1:{port}/api/models/made/pages/tree/x", "A9-next-page-forbidden"),
        row("{stranger}/api/models/made/pages/tree/x", "A9-next-page-foreign"),
        row("http://169.254.169.254/api/x", "A9-next-page-metadata"),
    ],
)
def test_the_next_page_is_asked_at_the_service_only(
    doors: Doors, wired: Stage, listeners: Listeners, next_page: str
) -> None:
    link = next_page.format(port=listeners.port, stranger=wired.url("stranger"))
    url = wired.hub("made/pages", {"x_lora.safetensors": LORA})
    wired.file(
        "/api/models/made/pages",
        answer_json({"id": "made/pages", "sha": "ab" * 20, "siblings": [{"rfilename": "x_lora.safetensors"}]}),
        "hub",
    )  # fmt: skip
    tree = answer_json([{"type": "file", "path": "x_lora.safetensors", "size": 9, "oid": "a" * 40}])
    tree.with_header("Link", f'<{link}>; rel="next"')
    wired.file(f"/api/models/made/pages/tree/{'ab' * 20}", tree, "hub")
    assert doors.post("/resolve", url=url).status_code == 200
    assert wired.log.find(site="stranger") == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("civitai", id="A9-api-redirect-civitai"),
        pytest.param("hub", id="A9-api-redirect-hub"),
    ],
)
def test_an_api_that_redirects_to_a_forbidden_place(
    doors: Doors, wired: Stage, listeners: Listeners, name: str
) -> None:
    target = f"http://127.0.0.1:{listeners.port}/api"
    url = wired.civitai() if name == "civitai" else wired.hub("made/moved", {"x.safetensors": LORA})
    for key in [key for key in wired.routes if "/api/" in key[1]]:
        wired.routes[key] = Response(307, [("Location", target)])
    answer = doors.post("/resolve", url=url)
    assert (answer.status_code, answer.data["code"]) == (400, "redirect_refused"), answer.data


# --- A10: nothing to be learned ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "via", [pytest.param(via, id=f"A10-{via}") for via in ("link", "redirect", "picture")]
)
def test_an_open_port_and_a_closed_one_look_the_same(
    doors: Doors, wired: Stage, listeners: Listeners, via: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        closed_port = closed_soon.getsockname()[1]
    answers = []
    for port in (listeners.port, closed_port):
        url = f"http://127.0.0.1:{port}/x.png"
        if via == "picture":
            answers.append(doors.api.get(signed_preview_url(url)))
            continue
        answers.append(
            doors.post("/resolve", url=wired.redirect("/go", url) if via == "redirect" else url)
        )
    first, second = answers
    assert first.status_code == second.status_code
    assert first.data == second.data


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(base64.urlsafe_b64encode(b"http://x/").decode(), id="A9-forged-picture"),
        pytest.param("", id="A9-no-token"),
    ],
)
def test_a_picture_is_fetched_for_our_own_signature_only(doors: Doors, forged: str) -> None:
    answer = doors.api.get("/api/previews", {"token": forged})
    assert (answer.status_code, answer.data["code"]) == (404, "preview_unavailable")

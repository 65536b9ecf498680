"""Sources that lie: CivitAI, the Hub, a host of files and a stranger, each on a port of its own.

All four are on the allow list, so what is refused here is refused for what it says, and where a
token went can be read in `log`. Every route is a `Response`, or a function that makes one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self
from urllib.parse import quote

from tests.origin import files
from tests.origin.content import Content, literal
from tests.origin.faults import Faults, Log
from tests.origin.listener import Request, Response, Site

JSON = [("Content-Type", "application/json")]
COMMIT = "c0ffee00" * 5
Route = Response | Callable[[Request], Response]
LORA = files.make("hostile_lora_sdxl.safetensors")
NAMES = ("civitai", "hub", "files", "stranger")


def answer_json(value: Any) -> Response:
    return Response(200, list(JSON), json.dumps(value).encode())


def served(content: Content | bytes, name: str = "x", **headers: str) -> Response:
    """A file with ranges and a validator; `content_disposition="…"` becomes that header."""
    whole = content if isinstance(content, Content) else literal(name, content)
    pairs = {"Content-Type": "application/octet-stream"}
    pairs |= {key.replace("_", "-").title(): value for key, value in headers.items()}
    return Response(200, list(pairs.items()), content=whole, etag=f'"{whole.sha256[:16]}"')


class Stage:
    """The four sites. `clear` between tests; addresses stay the same."""

    def __init__(self) -> None:
        self.log = Log()
        self.faults = Faults()
        self.routes: dict[tuple[str, str], Route] = {}
        self.sites: dict[str, Site] = {}

    def __enter__(self) -> Self:
        for name in NAMES:
            self.sites[name] = Site(name, self._answers(name), log=self.log, faults=self.faults)
        return self

    def __exit__(self, *_exc: object) -> None:
        problems = []
        for site in self.sites.values():
            site.stop()
            problems += site.problems
        if problems:
            raise ExceptionGroup("The stage failed inside", problems)

    def _answers(self, name: str) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            route = self.routes.get((name, request.path))
            if route is None:
                return Response(404, list(JSON), b'{"error": "Not found"}')
            # A response is changed while it is sent, so that each request gets one of its own.
            return (
                dataclasses.replace(route, headers=list(route.headers))
                if isinstance(route, Response)
                else route(request)
            )

        return answer

    def clear(self) -> None:
        self.routes.clear()
        self.log.clear()
        self.faults.clear()

    def url(self, site: str, path: str = "") -> str:
        return f"{self.sites[site].url}{path}"

    @property
    def allow(self) -> tuple[str, ...]:
        return tuple(site.address for site in self.sites.values())

    @property
    def addresses(self) -> set[tuple[str, int]]:
        return {("127.0.0.1", site.server_port) for site in self.sites.values()}

    # --- Plain links -----------------------------------------------------------------------------
    def file(self, path: str, route: Route | Content | bytes = LORA, site: str = "files") -> str:
        """Serve something at a path; the link to it."""
        self.routes[site, path] = served(route) if isinstance(route, Content | bytes) else route
        return self.url(site, quote(path))

    def redirect(self, path: str, target: str, *, status: int = 302, site: str = "files") -> str:
        return self.file(path, Response(status, [("Location", target)]), site)

    # --- CivitAI ---------------------------------------------------------------------------------
    def civitai(
        self,
        number: int = 1,
        content: Content | bytes = LORA,
        *,
        name: Any = "hostile.safetensors",
        file: Mapping[str, Any] | None = None,
        version: Mapping[str, Any] | None = None,
        model: Mapping[str, Any] | None = None,
        download: Route | None = None,
    ) -> str:
        """A LoRA of one version and one file, with what is given put over it; the link to it."""
        whole = content if isinstance(content, Content) else literal(str(number), content)
        version_id, file_id = number * 10 + 1, number * 100 + 11
        item = {
            "id": file_id,
            "name": name,
            "type": "Model",
            "sizeKB": whole.size_bytes / 1024,
            "primary": True,
            "metadata": {"format": "SafeTensor"},
            "hashes": {"SHA256": whole.sha256.upper()},
            "downloadUrl": self.url("civitai", f"/api/download/models/{version_id}"),
        } | dict(file or {})
        one = {
            "id": version_id,
            "modelId": number,
            "name": "v1",
            "baseModel": "SDXL 1.0",
            "files": [item],
            "images": [],
        } | dict(version or {})
        body = {
            "id": number,
            "name": f"Hostile {number}",
            "type": "LORA",
            "modelVersions": [one],
        } | dict(model or {})
        self.routes["civitai", f"/api/v1/models/{number}"] = answer_json(body)
        self.routes["civitai", f"/api/v1/model-versions/{version_id}"] = answer_json(one)
        self.routes["civitai", f"/api/download/models/{version_id}"] = download or served(whole)
        return self.url("civitai", f"/models/{number}?modelVersionId={version_id}")

    # --- The Hub ---------------------------------------------------------------------------------
    def hub(
        self, repo: str, contents: Mapping[str, Content | bytes], info: Mapping[str, Any] = {}
    ) -> str:
        """A repository with these files; the link to it."""
        wholes = {
            path: content if isinstance(content, Content) else literal(path, content)
            for path, content in contents.items()
        }
        siblings = [
            {
                "rfilename": path,
                "size": whole.size_bytes,
                "blobId": whole.git_sha1,
                "lfs": {"sha256": whole.sha256, "size": whole.size_bytes, "pointerSize": 134},
            }
            for path, whole in wholes.items()
        ]
        body = {"id": repo, "sha": COMMIT, "siblings": siblings, "tags": ["lora"]} | dict(info)
        self.routes["hub", f"/api/models/{repo}"] = answer_json(body)
        self.routes["hub", f"/api/models/{repo}/revision/{COMMIT}"] = answer_json(body)
        for path, whole in wholes.items():
            self.routes["hub", f"/{repo}/resolve/{COMMIT}/{path}"] = served(whole)
        return self.url("hub", f"/{repo}")

    # --- What was asked --------------------------------------------------------------------------
    def authorizations(self, sites: Iterable[str] = NAMES) -> set[str]:
        return {
            entry.authorization
            for entry in self.log.entries
            if entry.site in set(sites) and entry.authorization
        }


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

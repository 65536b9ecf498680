"""A server as anybody writes one in an hour: plain HTTP/1.0, no ranges, no validators, no HEAD.

It plays CivitAI, the Hub and their file hosts on one port each, from answers that are edited
recordings. What it does not know is a 404 with an HTML body.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

DATA = Path(__file__).parent.parent / "data"
COMMIT = "c" * 40
LFS = (".safetensors", ".bin", ".ckpt", ".pt", ".gguf", ".zip")


def recorded(path: str) -> Any:
    return json.loads((DATA / f"{path}.json").read_text())


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def git_sha1(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


@dataclass
class Reply:
    """`sizeless`: no Content-Length, the end of the connection is the end of the body."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    sizeless: bool = False


Route = Reply | bytes | dict[str, Any] | list[Any] | Callable[[str], "Route"]


class Naive(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes: dict[str, Route] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has read enough is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: Naive

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append(path)
        route: Any = self.server.routes.get(path)
        while callable(route):
            route = route(self.path)
        if route is None:
            self.send_error(404)
            return
        reply = _reply(route)
        self.send_response(reply.status)
        headers = {"Content-Type": "application/octet-stream", **reply.headers}
        if not reply.sizeless:
            headers["Content-Length"] = str(len(reply.body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_args: Any) -> None:
        """Nobody reads it."""


def _reply(route: Any) -> Reply:
    if isinstance(route, Reply):
        return route
    if isinstance(route, bytes):
        return Reply(route)
    return Reply(json.dumps(route).encode(), headers={"Content-Type": "application/json"})


class World:
    """Three of them, and answers for one model or one repository at a time."""

    def __init__(self) -> None:
        self.civitai, self.hub, self.files = Naive(), Naive(), Naive()

    def __enter__(self) -> Self:
        for server in self.servers:
            server.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        for server in self.servers:
            server.__exit__(*exc)

    @property
    def servers(self) -> tuple[Naive, Naive, Naive]:
        return self.civitai, self.hub, self.files

    @property
    def allow(self) -> tuple[str, ...]:
        return tuple(server.url.removeprefix("http://") for server in self.servers)

    def clear(self) -> None:
        for server in self.servers:
            server.routes.clear()
            server.asked.clear()

    # --- CivitAI ---------------------------------------------------------------------------------
    def model(
        self,
        files: list[dict[str, Any]],
        *,
        kind: str = "LORA",
        base: str = "SDXL 1.0",
        routes: str = "both",
        redirect: bool = True,
        **version: Any,
    ) -> str:
        """A recorded model under new ids with these files; the link of its page.

        A file has `body` and what CivitAI says of it; sizes and digests follow from the body
        unless they are given. `routes`: model, version or both. `redirect`: to the file host.
        """
        said = [self._file(number, file) for number, file in enumerate(files, 7001)]
        model = recorded("civitai/model_1231067_lora_2025")
        own = recorded("civitai/version_1387174_lora_2025")
        listed = model["modelVersions"][0]
        model |= {"id": 501, "type": kind}
        own["model"]["type"] = kind
        for part in (listed, own):
            part.update(id=601, modelId=501, baseModel=base, files=said, images=[])
            part.update(version)
        bodies = {plain["id"]: file["body"] for plain, file in zip(said, files, strict=True)}
        if routes in {"both", "model"}:
            self.civitai.routes["/api/v1/models/501"] = model
        if routes in {"both", "version"}:
            self.civitai.routes["/api/v1/model-versions/601"] = own

        def download(path: str) -> Route:
            wanted = int(parse_qs(urlsplit(path).query).get("fileId", ["7001"])[0])
            if wanted not in bodies:
                return Reply(b'{"error":"File not found"}', 404)
            if not redirect:
                return bodies[wanted]
            self.files.routes[f"/blob/{wanted}"] = bodies[wanted]
            return Reply(status=307, headers={"Location": f"{self.files.url}/blob/{wanted}?sig=x"})

        self.civitai.routes["/api/download/models/601"] = download
        return "https://civitai.com/models/501?modelVersionId=601"

    def _file(self, number: int, file: dict[str, Any]) -> dict[str, Any]:
        body = file["body"]
        plain = {
            "id": number,
            "type": "Model",
            "sizeKB": len(body) / 1024,
            "hashes": {"SHA256": sha256(body).upper()},
            "metadata": {"format": "SafeTensor"},
            "downloadUrl": "https://civitai.com/api/download/models/601",
        }
        return plain | {key: value for key, value in file.items() if key != "body"}

    def refuse_download(self, status: int, **body: Any) -> None:
        self.civitai.routes["/api/download/models/601"] = Reply(json.dumps(body).encode(), status)

    # --- The Hub ---------------------------------------------------------------------------------
    def repo(self, name: str, files: dict[str, bytes], **fields: Any) -> str:
        """A repository with these files, large ones behind a redirect; the link of its page.

        `blobs` False: names only, sizes and digests in the tree.
        """
        blobs = fields.pop("blobs", True)
        revision = fields.pop("revision", COMMIT)
        siblings, tree = [], []
        for path, body in files.items():
            lfs = {"size": len(body), "pointerSize": 134} if path.endswith(LFS) else None
            digest = "f" * 40 if lfs else git_sha1(body)
            sibling = {"rfilename": path}
            entry = {"type": "file", "path": path, "size": len(body), "oid": digest}
            if blobs:
                sibling |= {"size": len(body), "blobId": digest}
            if lfs:
                entry["lfs"] = {**lfs, "oid": sha256(body)}
                if blobs:
                    sibling["lfs"] = {**lfs, "sha256": sha256(body)}
            siblings.append(sibling)
            tree.append(entry)
            self._resolve(f"/{name}/resolve/{revision}/{quote(path)}", body, is_lfs=bool(lfs))
        self.hub.routes[f"/api/models/{name}"] = {
            "id": name,
            "author": name.partition("/")[0],
            "sha": COMMIT,
            "gated": False,
            "private": False,
            "tags": [],
            "siblings": siblings,
            **fields,
        }
        self.hub.routes[f"/api/models/{name}/tree/{COMMIT}"] = tree
        return f"https://huggingface.co/{name}"

    def _resolve(self, path: str, body: bytes, *, is_lfs: bool) -> None:
        if not is_lfs:
            self.hub.routes[path] = body
            return
        digest = sha256(body)
        self.files.routes[f"/lfs/{digest}"] = body
        self.hub.routes[path] = Reply(
            b"Found. Redirecting",
            302,
            {
                "Location": f"{self.files.url}/lfs/{digest}?sig=x",
                "X-Linked-Etag": f'"{digest}"',
                "X-Linked-Size": str(len(body)),
                "X-Repo-Commit": COMMIT,
            },
        )

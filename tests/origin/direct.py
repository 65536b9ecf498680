"""Plain file hosts: the first part of the path says how this one behaves.

    /files/<name>         ranges, strong ETag, Last-Modified
    /sized/<bytes>/<name> the same, that big
    /no-range/<name>      a range is ignored, none is announced
    /no-length/<name>     chunked, no Content-Length, no ranges
    /weak-etag/<name>     W/"…"            /no-etag/<name>     no validator at all
    /no-head/<name>       HEAD gives 405
    /attachment/<name>    a path without a name; Content-Disposition has it
    /named?header=<text>  Content-Disposition exactly as given (bytes as latin-1)
    /login/<name>         200 with a web page          /error-body/<name>  200 with an API's error
    /gzip/<name>          Content-Encoding: gzip that nobody asked for
    /moved/<n>/<name>     n redirects, then the file   /loop               redirects to itself
    /secret/<name>?key=   only with `Direct.key`       /status/<code>      that status
    /wrong-range/<name>   206 that starts elsewhere    /to?url=<url>       302 to that address

The name decides what comes: see `files.make`.
"""

from __future__ import annotations

import gzip
import json
from urllib.parse import quote

from tests.canaries import canary
from tests.origin import files
from tests.origin.content import Content
from tests.origin.listener import Request, Response


class Direct:
    """Any name is a file; `file` says what must arrive."""

    def __init__(self) -> None:
        self.url = ""
        self.key = canary("direct-link")
        self._contents: dict[tuple[str, int | None], Content] = {}

    def file(self, name: str, size_bytes: int | None = None) -> Content:
        if (name, size_bytes) not in self._contents:
            self._contents[name, size_bytes] = files.make(name, size_bytes=size_bytes)
        return self._contents[name, size_bytes]

    def link(self, name: str, how: str = "files") -> str:
        return f"{self.url}/{how}/{quote(name)}"

    def sized_link(self, name: str, size_bytes: int) -> str:
        return f"{self.url}/sized/{size_bytes}/{quote(name)}"

    def secret_link(self, name: str) -> str:
        """A link whose query is a secret."""
        return f"{self.url}/secret/{quote(name)}?key={self.key}"

    def answer(self, request: Request) -> Response:
        how, _, rest = request.path.strip("/").partition("/")
        if how == "sized":
            size, _, name = rest.partition("/")
            return self._plain(self.file(name, int(size)))
        if how == "named":
            name = "named.safetensors"
            response = self._plain(self.file(name))
            response.with_header("Content-Disposition", request.argument("header") or "")
            return response
        if how == "status":
            return Response(int(rest), [("Content-Type", "text/plain")], b"as asked")
        if how == "loop":
            return Response(302, [("Location", "/loop")])
        if how == "to":
            return Response(302, [("Location", request.argument("url") or "")])
        if how == "moved":
            left, _, name = rest.partition("/")
            following = (
                f"/moved/{int(left) - 1}/{quote(name)}"
                if int(left) > 1
                else f"/files/{quote(name)}"
            )
            return Response(302, [("Location", following)])
        if how == "no-head" and request.method == "HEAD":
            return Response(405, [("Allow", "GET")])
        if how == "secret" and request.argument("key") != self.key:
            return Response(403, [("Content-Type", "text/plain")], b"The key is missing or wrong.")
        return self._with_manner(request, how, rest)

    def _with_manner(self, request: Request, how: str, name: str) -> Response:
        if how not in {"files", "secret", "no-head", *_MANNERS} or not name:
            return Response(
                404, [("Content-Type", "text/html")], files.web_page("404", "Not found").read()
            )
        response = self._plain(self.file(name))
        response.ranges = how not in {"no-range", "no-length"}
        response.length = how != "no-length"
        if how == "weak-etag":
            response.etag = f"W/{response.etag}"
        elif how == "no-etag":
            response.etag = response.last_modified = ""
        elif how == "attachment":
            response.with_header(
                "Content-Disposition", f'attachment; filename="{name}.safetensors"'
            )
            response.content = self.file(f"{name}.safetensors")
        elif how == "login":
            page = files.web_page(name)
            return Response(200, [("Content-Type", page.content_type)], page.read())
        elif how == "error-body":
            body = json.dumps({"error": "Unauthorized", "message": "Log in to download it."})
            return Response(200, [("Content-Type", "application/json")], body.encode())
        elif how == "gzip":
            body = gzip.compress(self.file(name).read(), mtime=0)
            return Response(200, [*response.headers, ("Content-Encoding", "gzip")], body)
        elif how == "wrong-range" and "Range" in request.headers:
            size = self.file(name).size_bytes
            head = [*response.headers, ("Content-Range", f"bytes 0-{size - 1}/{size}")]
            return Response(206, head, self.file(name).read())
        return response

    def _plain(self, content: Content) -> Response:
        headers = [("Content-Type", content.content_type)]
        return Response(200, headers, content=content, etag=f'"{content.sha256[:24]}"')


_MANNERS = frozenset(
    {
        "no-range",
        "no-length",
        "weak-etag",
        "no-etag",
        "attachment",
        "login",
        "error-body",
        "gzip",
        "wrong-range",
    }
)

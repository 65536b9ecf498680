"""The hosts behind the redirects: signed links that run out, and no Authorization header allowed.

Signed links carry a canary, so that one which is stored or logged is found at the end of the suite.
Pictures are not signed, as at image.civitai.com.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from tests.canaries import canary
from tests.origin import files
from tests.origin.content import Content
from tests.origin.listener import Request, Response

XML = [("Content-Type", "application/xml")]


@dataclass(frozen=True)
class _Stored:
    content: Content
    etag: str


class Cdn:
    """`sign` gives a link; `answer` plays the host. `ttl_s` overrides the time given by callers."""

    def __init__(self) -> None:
        self.url = ""
        self.ttl_s: float | None = None
        self._secret = secrets.token_bytes(16)
        self._valid_from = 0.0
        self._stored: dict[str, _Stored] = {}
        self._lock = threading.Lock()

    def expire_signatures(self) -> None:
        """Refuse every link that was signed until now."""
        self._valid_from = time.time()

    def sign(
        self, content: Content, path: str, *, etag: str, ttl_s: float, file_name: str = ""
    ) -> str:
        """A link to the content that is good for `ttl_s` seconds, in Cloudflare R2's form."""
        with self._lock:
            self._stored[path] = _Stored(content, etag)
        now = time.time()
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{canary('cdn-signature')}/auto/s3/aws4_request",
            "X-Amz-Date": f"{now:.6f}",
            "X-Amz-Expires": f"{self.ttl_s if self.ttl_s is not None else ttl_s:g}",
            "X-Amz-SignedHeaders": "host",
        }
        if file_name:
            query["response-content-disposition"] = f'attachment; filename="{file_name}"'
        query["X-Amz-Signature"] = self._signature(path, query)
        return f"{self.url}{quote(path)}?{urlencode(query)}"

    def _signature(self, path: str, query: dict[str, str]) -> str:
        text = path + "\n" + "\n".join(f"{key}={query[key]}" for key in sorted(query))
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def answer(self, request: Request) -> Response:
        if "Authorization" in request.headers:
            return _refused(400, "InvalidArgument", "Only one auth mechanism allowed")
        if request.path.startswith("/image/"):
            return _picture(request.path)
        query = {name: values[-1] for name, values in request.query.items()}
        given = query.pop("X-Amz-Signature", "")
        stored = self._stored.get(request.path)
        signed = hmac.compare_digest(given, self._signature(request.path, query))
        # The signature covers the verb: HEAD on a link made for GET is refused.
        if stored is None or not signed or request.method != "GET":
            return _refused(403, "SignatureDoesNotMatch", "The request signature does not match.")
        made = float(query["X-Amz-Date"])
        if time.time() > made + float(query["X-Amz-Expires"]) or made <= self._valid_from:
            return _refused(403, "AccessDenied", "Request has expired")
        headers = [("Content-Type", "application/octet-stream")]
        if "response-content-disposition" in query:
            headers.append(("Content-Disposition", query["response-content-disposition"]))
        return Response(200, headers, content=stored.content, etag=stored.etag)


def _refused(status: int, code: str, message: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(status, list(XML), body.encode())


def _picture(path: str) -> Response:
    content = files.video(path) if path.endswith(".mp4") else files.picture(path)
    headers = [("Content-Type", content.content_type), ("Cache-Control", "public, max-age=86400")]
    return Response(200, headers, content=content, etag=f'"{content.sha256[:32]}"')

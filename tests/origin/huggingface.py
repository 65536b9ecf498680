"""The HuggingFace Hub, from recorded answers and from repositories made for the tests.

Headers are those of the recorded exchanges; sizes, digests and links are patched to files that are
made here. One recorded file, `regression/ref-regular.txt`, is served byte for byte.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from typing import Any
from urllib.parse import quote, unquote

from tests.canaries import canary
from tests.origin import files, made_huggingface, recorded
from tests.origin.cdn import Cdn
from tests.origin.content import Content, literal
from tests.origin.listener import Request, Response

SIGNED_FOR_S = 3600
#: Requests per five minutes, by kind and whether a token came along.
LIMITS = {
    ("api", False): 500, ("resolvers", False): 3000,
    ("api", True): 1000, ("resolvers", True): 5000,
}  # fmt: skip
BIG_FILES = frozenset(
    {"safetensors", "bin", "ckpt", "pt", "pth", "gguf", "onnx", "onnx_data", "h5", "msgpack", "model",
     "zip", "pkl"}
)  # fmt: skip
JSON = ("Content-Type", "application/json; charset=utf-8")
TEXT = ("Content-Type", "text/plain; charset=utf-8")
#: Headers that the origin sets itself; the rest of a recorded exchange is sent as it was.
OWN = frozenset(
    {"date", "content-length", "content-type", "content-disposition", "etag", "location", "link", "connection",
     "ratelimit", "ratelimit-policy", "x-request-id", "x-repo-commit", "x-linked-etag", "x-linked-size",
     "x-xet-hash", "accept-ranges", "x-error-code", "x-error-message", "www-authenticate", "content-security-policy",
     "cache-control"}
)  # fmt: skip
REGULAR = "exchange_200_get_resolve_regular_file_2026"
LFS = "exchange_302_get_resolve_lfs_file_2026"
REFUSED = "exchange_401_api_private_repo_2026"
RENAMED = "exchange_307_api_renamed_repo_2025"


@dataclasses.dataclass(frozen=True)
class Account:
    name: str
    sees: frozenset[str] = frozenset()  # private and gated repositories


class Huggingface:
    """State and switches of the Hub; tests may change all public attributes."""

    def __init__(self, cdn: Cdn) -> None:
        self.url = ""
        self.cdn = cdn
        self.token = canary("huggingface")
        self.other_token = canary("huggingface-without-access")
        self.page_size = 1000
        #: Mirrors leave the links of the public host in their answers.
        self.links_to_public_host = False
        #: A regular file by branch: redirect to `/api/resolve-cache` (as today) or answer at once.
        self.resolve_cache = True
        self.repos: dict[str, dict[str, Any]] = {}
        for name in recorded.names("huggingface", "model_"):
            info = recorded.load("huggingface", name)
            if "siblings" in info:
                self.repos[info["id"]] = info
        for info in made_huggingface.repositories():
            self.repos[info["id"]] = info
        self.repos["ggerganov/whisper.cpp"] = _from_tree("ggerganov/whisper.cpp")
        restricted = {
            name for name, info in self.repos.items() if info.get("private") or info.get("gated")
        }
        self.accounts = {
            self.token: Account("made_user", frozenset(restricted)),
            self.other_token: Account("made_other"),
        }
        self._sizes: dict[tuple[str, str], int] = {}
        self._contents: dict[tuple[str, str], Content] = {}
        self._requests = 0

    # --- For tests -------------------------------------------------------------------------------
    def file(self, repo: str, path: str) -> Content:
        """What a download of that file must give. Raises KeyError."""
        key = (repo, path)
        if key not in self._contents:
            if path not in self.paths(repo):
                raise KeyError(path)
            self._contents[key] = self._make(repo, path)
        return self._contents[key]

    def resize(self, repo: str, path: str, size_bytes: int) -> Content:
        self._sizes[repo, path] = size_bytes
        self._contents.pop((repo, path), None)
        return self.file(repo, path)

    def paths(self, repo: str) -> list[str]:
        return [sibling["rfilename"] for sibling in self.repos[repo]["siblings"]]

    def is_lfs(self, repo: str, path: str) -> bool:
        recorded_one = next(s for s in self.repos[repo]["siblings"] if s["rfilename"] == path)
        if "lfs" in recorded_one or "size" in recorded_one:
            return "lfs" in recorded_one
        return path.rsplit(".", 1)[-1] in BIG_FILES

    # --- Making ----------------------------------------------------------------------------------
    def _make(self, repo: str, path: str) -> Content:
        name = f"{repo}/{path}"
        size = self._sizes.get((repo, path))
        if path == "regression/ref-regular.txt":
            text = recorded.load("huggingface", REGULAR)["response_body"]["text"]
            return literal(name, text.encode())
        if path == "regression/ref-lfs.bin":
            return dataclasses.replace(files.make("ref.lfs", size_bytes=size or 1048576), name=name)
        if path.endswith(".index.json"):
            shards = [p for p in self.paths(repo) if "-of-" in p and p.endswith(".safetensors")]
            value = files.shard_index([self.file(repo, shard) for shard in shards])
            value["weight_map"] = {
                key: shard.rsplit("/", 1)[-1]
                for key, shard in zip(value["weight_map"], shards, strict=True)
            }
            return dataclasses.replace(files.json_file(name, value))
        if path == "model_index.json":
            return files.json_file(name, {"_class_name": "StableDiffusionXLPipeline", "made": True})
        kind = None
        if path.endswith(".safetensors"):
            kind = files.kind_of_name(name)
            size = size or files.smallest_safetensors(kind) + zlib.crc32(name.encode()) % 100_000
        if repo == "mcpotato/42-eicar-street" and path.endswith((".bin", ".pkl")):
            kind = "malicious"
        return files.make(name, kind=kind, size_bytes=size)

    def _size_said(self, repo: str, path: str) -> int:
        """The size that is published: a lie for the one file that plain HTTP cannot carry."""
        if repo == made_huggingface.HUGE:
            return 60 * 1000**3
        return self.file(repo, path).size_bytes

    def _sibling(self, repo: str, path: str, *, blobs: bool) -> dict[str, Any]:
        if not blobs:
            return {"rfilename": path}
        content, size = self.file(repo, path), self._size_said(repo, path)
        if not self.is_lfs(repo, path):
            return {"rfilename": path, "blobId": content.git_sha1, "size": size}
        lfs = {"sha256": content.sha256, "size": size, "pointerSize": len(content.lfs_pointer)}
        return {"rfilename": path, "blobId": content.pointer_sha1, "size": size, "lfs": lfs}

    def _tree_entry(self, repo: str, path: str) -> dict[str, Any]:
        content, size = self.file(repo, path), self._size_said(repo, path)
        if not self.is_lfs(repo, path):
            return {"type": "file", "oid": content.git_sha1, "size": size, "path": path}
        lfs = {"oid": content.sha256, "size": size, "pointerSize": len(content.lfs_pointer)}
        return {
            "type": "file", "oid": content.pointer_sha1, "size": size, "lfs": lfs,
            "xetHash": content.xet_hash, "path": path,
        }  # fmt: skip

    # --- Answers ---------------------------------------------------------------------------------
    def answer(self, request: Request) -> Response:
        self._requests += 1
        path = request.path.strip("/")
        is_api = path.startswith("api/")
        if request.bearer and request.bearer not in self.accounts:
            response = self._refused_401(
                api=is_api
            )  # a bad token is refused even for public things
        elif path == "api/whoami-v2":
            response = self._answer_whoami(request)
        elif path == "api/models":
            response = self._answer_search(request)
        elif path.startswith("api/resolve-cache/models/"):
            response = self._answer_cache(path.removeprefix("api/resolve-cache/models/"))
        elif path.startswith("api/models/"):
            response = self._answer_api(
                request, request.raw_path.strip("/").removeprefix("api/models/")
            )
        else:
            response = self._answer_file(request, request.raw_path.strip("/"))
        bucket = "api" if is_api else "resolvers"
        quota = LIMITS[bucket, request.bearer in self.accounts]
        left = quota - self._requests % quota
        response.with_header("Ratelimit", f'"{bucket}";r={left};t=201')
        response.with_header("Ratelimit-Policy", f'"fixed window";"{bucket}";q={quota};w=300')
        response.with_header("X-Request-Id", f"Root=1-made-{self._requests:08x}")
        return response

    def _answer_whoami(self, request: Request) -> Response:
        account = self.accounts.get(request.bearer)
        if account is None:
            return self._refused_401(api=True)
        token = {"displayName": "made", "role": "read"}
        value = {
            "type": "user",
            "name": account.name,
            "auth": {"type": "access_token", "accessToken": token},
        }
        return self._json(value)

    def _answer_search(self, request: Request) -> Response:
        text = (request.argument("search") or "").lower()
        limit = int(request.argument("limit") or 100)
        found = [
            {key: value for key, value in info.items() if key != "siblings"}
            for name, info in sorted(self.repos.items())
            if text in name.lower() and not info.get("private")
        ]
        return self._json(found[:limit])

    def _answer_api(self, request: Request, raw: str) -> Response:
        """`{id}[/revision/{rev} | /tree/{rev}[/{path}] | /xet-read-token/{rev}]`, still encoded."""
        name, verb, rest = _split_api(raw)
        refusal = self._refusal(request, name, api=True, rest=f"/{verb}/{rest}" if verb else "")
        if refusal is not None:
            return refusal
        info = self.repos[name]
        if verb == "tree":
            revision, path = self._revision_and_path(name, rest)
        else:
            revision, path = (unquote(rest) or "main", "")
        if revision not in self._revisions(name):
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}", api=True)
        if verb == "tree":
            return self._answer_tree(request, name, revision, path)
        if verb == "xet-read-token":
            return self._error(404, "", "Not found", api=True)
        blobs = (request.argument("blobs") or "").lower() in {"true", "1"}
        value = dict(info)
        value["siblings"] = [self._sibling(name, path, blobs=blobs) for path in self.paths(name)]
        if wanted := request.query.get("expand"):
            value = {key: value[key] for key in ("_id", "id", *wanted) if key in value}
        return self._json(value)

    def _answer_tree(self, request: Request, name: str, revision: str, path: str) -> Response:
        inside = [p for p in self.paths(name) if not path or p.startswith(f"{path}/")]
        if not inside:
            return self._error(404, "EntryNotFound", f"{path} does not exist", api=True)
        recursive = (request.argument("recursive") or "").lower() in {"true", "1"}
        depth = len(path.split("/")) + 1 if path else 1
        folders = sorted(
            {
                "/".join(parts[:n])
                for parts in (p.split("/") for p in inside)
                for n in range(depth, len(parts))
                if recursive or n == depth
            }
        )
        entries: list[dict[str, Any]] = [
            {"type": "directory", "oid": f"{zlib.crc32(f.encode()):040x}", "size": 0, "path": f}
            for f in folders
        ]
        plain = [p for p in inside if recursive or len(p.split("/")) == depth]
        start = int(request.argument("cursor") or 0)
        limit = int(request.argument("limit") or self.page_size)
        window = (entries + [{"path": p} for p in plain])[start : start + limit]
        page = [e if "type" in e else self._tree_entry(name, e["path"]) for e in window]
        response = self._json(page)
        if start + limit < len(entries) + len(plain):
            host = "https://huggingface.co" if self.links_to_public_host else self.url
            query = f"recursive={str(recursive).lower()}&limit={limit}&cursor={start + limit}"
            where = f"/api/models/{name}/tree/{quote(revision, safe='')}"
            where += f"/{quote(path)}" if path else ""
            response.with_header("Link", f'<{host}{where}?{query}>; rel="next"')
        return response

    def _answer_file(self, request: Request, raw: str) -> Response:
        """`{id}/resolve|raw/{rev}/{path}`; everything else is a page for people."""
        name, verb, rest = _split_file(raw)
        if verb not in {"resolve", "raw"}:
            return Response(
                200, [("Content-Type", "text/html")], files.web_page(raw, "A page").read()
            )
        refusal = self._refusal(request, name, api=False, rest=f"/{verb}/{rest}")
        if refusal is not None:
            return refusal
        revision, path = self._revision_and_path(name, rest)
        sha = self.repos[name]["sha"]
        if revision not in self._revisions(name):
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if path not in self.paths(name):
            return self._error(404, "EntryNotFound", "Entry not found", sha=sha)
        if self.repos[name].get("gated") and name not in self._account(request).sees:
            return self._gated(request, name)
        if verb == "raw":
            content = self.file(name, path)
            body = content.lfs_pointer if self.is_lfs(name, path) else content.read()
            return Response(200, [TEXT], body)
        if self.is_lfs(name, path):
            return self._to_cdn(name, path)
        if self.resolve_cache and not self.repos[name].get("private"):
            location = (
                f"/api/resolve-cache/models/{name}/{sha}/{quote(path)}?{quote(path)}=true&etag=made"
            )
            return self._redirect(location, [("X-Repo-Commit", sha)])
        return self._regular(name, path)

    def _answer_cache(self, rest: str) -> Response:
        owner, name, _, path = rest.split("/", 3)
        return self._regular(f"{owner}/{name}", path)

    def _regular(self, name: str, path: str) -> Response:
        content, base = self.file(name, path), path.rsplit("/", 1)[-1]
        headers = [
            *recorded.headers(REGULAR, without=OWN),
            TEXT,
            (
                "Content-Disposition",
                f"inline; filename*=UTF-8''{quote(base)}; filename=\"{base}\";",
            ),
            ("Content-Security-Policy", "default-src 'none'; sandbox"),
            ("X-Repo-Commit", self.repos[name]["sha"]),
        ]
        etag = f'"{content.git_sha1}"'
        return Response(200, headers, content=content, etag=etag, last_modified="")

    def _to_cdn(self, name: str, path: str) -> Response:
        content, sha = self.file(name, path), self.repos[name]["sha"]
        where = f"/xet-bridge-us/{zlib.crc32(name.encode()):024x}/{content.xet_hash}"
        base = path.rsplit("/", 1)[-1]
        location = self.cdn.sign(
            content, where, etag=f'"{content.xet_hash}"', ttl_s=SIGNED_FOR_S, file_name=base
        )
        links = (
            f'<{self.url}/api/models/{name}/xet-read-token/{sha}>; rel="xet-auth", '
            f"<https://cas-server.xethub.hf.co/v1/reconstructions/{content.xet_hash}>; "
            'rel="xet-reconstruction-info"'
        )
        headers = [
            *recorded.headers(LFS, without=OWN),
            TEXT,
            ("Accept-Ranges", "bytes"),
            ("Cache-Control", "no-store"),
            ("Link", links),
            ("Location", location),
            ("X-Linked-Etag", f'"{content.sha256}"'),
            ("X-Linked-Size", str(self._size_said(name, path))),
            ("X-Repo-Commit", sha),
            ("X-Xet-Hash", content.xet_hash),
        ]
        return Response(302, headers, f"Found. Redirecting to {location}".encode())

    # --- Refusals --------------------------------------------------------------------------------
    def _account(self, request: Request) -> Account:
        return self.accounts.get(request.bearer, Account(""))

    def _refusal(self, request: Request, name: str, *, api: bool, rest: str) -> Response | None:
        """Why this repository is not answered for; None when it is."""
        if name in made_huggingface.RENAMED:
            prefix = "/api/models/" if api else "/"
            return self._redirect(f"{prefix}{made_huggingface.RENAMED[name]}{rest}", [])
        info = self.repos.get(name)
        hidden = info is None or info.get("private")
        if not hidden or name in self._account(request).sees:
            return None
        if request.bearer:
            return self._error(404, "RepoNotFound", "Repository not found", api=api)
        return self._refused_401(api=api)

    def _refused_401(self, *, api: bool) -> Response:
        """What the Hub says to nobody about a private or missing repository: no X-Error-Code."""
        message = "Invalid username or password."
        headers = [
            *recorded.headers(REFUSED, without=OWN),
            ("Www-Authenticate", 'Bearer realm="Authentication required", charset="UTF-8"'),
            ("X-Error-Message", message),
        ]
        if api:
            body = json.dumps({"error": message}, separators=(",", ":")).encode()
            return Response(401, [*headers, JSON], body)
        return Response(401, [*headers, TEXT], message.encode())

    def _gated(self, request: Request, name: str) -> Response:
        message = f"Access to model {name} is restricted"
        if not request.bearer:
            message += (
                ". You must have access to it and be authenticated to access it. Please log in."
            )
            return self._error(401, "GatedRepo", message)
        message += (
            f" and you are not in the authorized list. Visit {self.url}/{name} to ask for access."
        )
        return self._error(403, "GatedRepo", message)

    def _error(
        self, status: int, code: str, message: str, *, api: bool = False, sha: str = ""
    ) -> Response:
        headers = recorded.headers("exchange_404_head_resolve_entry_not_found_2026", without=OWN)
        if code:
            headers.append(("X-Error-Code", code))
        headers.append(("X-Error-Message", message))
        if sha:
            headers += [("X-Repo-Commit", sha), ("Accept-Ranges", "bytes")]
        if api:
            return Response(status, [*headers, JSON], json.dumps({"error": message}).encode())
        return Response(status, [*headers, TEXT], message.encode())

    def _redirect(self, location: str, more: list[tuple[str, str]]) -> Response:
        headers = [*recorded.headers(RENAMED, without=OWN), TEXT, ("Location", location), *more]
        return Response(307, headers, f"Temporary Redirect. Redirecting to {location}".encode())

    def _json(self, value: Any) -> Response:
        headers = [*recorded.headers(REFUSED, without=OWN | {"x-cache"}), JSON]
        return Response(200, headers, json.dumps(value, ensure_ascii=False).encode())

    # --- Revisions -------------------------------------------------------------------------------
    def _revisions(self, name: str) -> set[str]:
        known = {"main", self.repos[name]["sha"]}
        return known | (
            {made_huggingface.SLASH_REVISION} if name == made_huggingface.SINGLE else set()
        )

    def _revision_and_path(self, name: str, rest: str) -> tuple[str, str]:
        """A slash inside a revision comes encoded; `refs/pr/1` is understood without that too."""
        revision, _, path = rest.partition("/")
        slash = made_huggingface.SLASH_REVISION
        if unquote(rest).startswith(f"{slash}/") and "%2" not in revision:
            return slash, unquote(rest).removeprefix(f"{slash}/")
        return unquote(revision), unquote(path)


def _split_api(raw: str) -> tuple[str, str, str]:
    """Name, verb and rest of `owner/name/verb/rest`, or of `name/verb/rest`."""
    parts = raw.split("/")
    verbs = {"revision", "tree", "xet-read-token"}
    at = 1 if len(parts) == 1 or parts[1] in verbs else 2
    return (
        unquote("/".join(parts[:at])),
        parts[at] if at < len(parts) else "",
        "/".join(parts[at + 1 :]),
    )


def _split_file(raw: str) -> tuple[str, str, str]:
    parts = raw.split("/")
    at = 1 if len(parts) > 1 and parts[1] in {"resolve", "raw"} else 2
    return (
        unquote("/".join(parts[:at])),
        parts[at] if at < len(parts) else "",
        "/".join(parts[at + 1 :]),
    )


def _from_tree(name: str) -> dict[str, Any]:
    """A repository of which only the listing was recorded."""
    tree = recorded.load("huggingface", "tree_ggerganov_whisper.cpp_main_trimmed_2026")
    return made_huggingface.information(name, [entry["path"] for entry in tree], ["whisper"])

"""What a user can name, as values: one per source, and the endpoints that stand for the services.

    CivitaiReference       https://civitai.com/models/4201?modelVersionId=501240&fileId=418901
                           https://civitai.com/model-versions/501240
    HuggingFaceReference   https://huggingface.co/owner/name
                           https://huggingface.co/owner/name/tree/refs%2Fpr%2F1/folder
                           https://huggingface.co/owner/name/blob/main/file.safetensors
                           https://hf.co/owner/name:Q4_K_M
    DirectReference        the URL itself

`str(reference)` is the canonical text: a link that a person can open, always of the public host,
and `parse_reference(str(reference), endpoints) == reference`. Two texts that mean the same give the
same reference, so it serves as a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from transfer.http import Credential
from transfer.urls import Origin, display_url, origin_of

CIVITAI = "civitai"
HUGGINGFACE = "huggingface"
DIRECT = "direct"

CIVITAI_PAGE_HOST = "civitai.com"
CIVITAI_HOSTS = frozenset({"civitai.com", "civitai.red", "civitai.green", "civitaired.com"})
ARCHIVE_HOSTS = frozenset({"civarchive.com", "civitaiarchive.com"})
HUGGINGFACE_HOSTS = frozenset({"huggingface.co", "hf.co", "hf-mirror.com"})
# Where a token may go while the endpoint is a public one: CivitAI serves one API on both.
CIVITAI_TOKEN_HOSTS = ("civitai.com", "www.civitai.com", "civitai.red", "www.civitai.red")

# PostgreSQL's int: CivitAI answers 400 above it (model.schema.ts).
MAX_CIVITAI_ID = 2_147_483_647
DEFAULT_REVISION = "main"

# Query keys of download links that name a variant; any other may carry a signature or a key.
_HARMLESS_KEYS = frozenset(
    {"download", "dl", "raw", "inline", "filename", "file", "name", "v", "ver", "version", "rev"}
)
_HARMLESS_VALUE_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the services are asked: `scheme://host[:port][/prefix]`, without a closing slash."""

    civitai: str = "https://civitai.com"
    huggingface: str = "https://huggingface.co"

    def __post_init__(self) -> None:
        object.__setattr__(self, "civitai", self.civitai.rstrip("/"))
        object.__setattr__(self, "huggingface", self.huggingface.rstrip("/"))

    def url(self, service: str) -> str:
        """The base URL of `service`. Raises KeyError for a name that is no service."""
        return {CIVITAI: self.civitai, HUGGINGFACE: self.huggingface}[service]

    def origins(self, service: str) -> frozenset[Origin]:
        """Where the token of `service` may be sent: its endpoint and nowhere else.

        The public CivitAI is one service on several hosts, which may redirect to each other.
        """
        own = origin_of(self.url(service))
        if service == CIVITAI and own.host in CIVITAI_TOKEN_HOSTS and own.scheme == "https":
            return frozenset({own, *(Origin("https", host, 443) for host in CIVITAI_TOKEN_HOSTS)})
        return frozenset({own})

    def credential(self, service: str, secret: str) -> Credential:
        """`secret` bound to the origins of `service`; over plain http only to an http endpoint."""
        return Credential(
            service=service,
            origins=self.origins(service),
            secret=secret,
            allow_http=origin_of(self.url(service)).scheme == "http",
        )


@dataclass(frozen=True, slots=True)
class FileChoice:
    """How a CivitAI download link names a file without its id; CivitAI's own words, "" for any."""

    type: str = ""
    format: str = ""
    size: str = ""
    fp: str = ""
    quant_type: str = ""

    def query(self) -> list[tuple[str, str]]:
        """The parameters of CivitAI's download route, in its order, without the empty ones."""
        pairs = [
            ("type", self.type),
            ("format", self.format),
            ("size", self.size),
            ("fp", self.fp),
            ("quantType", self.quant_type),
        ]
        return [(key, value) for key, value in pairs if value]

    def __bool__(self) -> bool:
        return bool(self.query())


@dataclass(frozen=True, slots=True, kw_only=True)
class CivitaiReference:
    """A model, one of its versions, or one file of a version; `sha256` alone means that file."""

    source_type: ClassVar[str] = CIVITAI
    has_secret: ClassVar[bool] = False

    model_id: int | None = None
    version_id: int | None = None
    file_id: int | None = None
    sha256: str = ""
    choice: FileChoice = field(default_factory=FileChoice)

    def __post_init__(self) -> None:
        if self.model_id is None and self.version_id is None and not self.sha256:
            raise ValueError("A CivitAI reference needs a model, a version or a SHA-256.")

    @property
    def page_url(self) -> str:
        """The page of what is named, on the public site."""
        base = f"https://{CIVITAI_PAGE_HOST}"
        if self.model_id is not None:
            version = f"?modelVersionId={self.version_id}" if self.version_id else ""
            return f"{base}/models/{self.model_id}{version}"
        if self.version_id is not None:
            return f"{base}/model-versions/{self.version_id}"
        return f"{base}/api/v1/model-versions/by-hash/{self.sha256}"

    @property
    def display(self) -> str:
        return str(self)

    def __str__(self) -> str:
        pairs = [("fileId", str(self.file_id))] if self.file_id is not None else []
        query = urlencode([*pairs, *self.choice.query()], quote_via=quote)
        if not query:
            return self.page_url
        return self.page_url + ("&" if "?" in self.page_url else "?") + query


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFaceReference:
    """A repository at a revision, a file or a folder of it, or (`quant`) one of its GGUF builds.

    `repo` is `owner/name`, or `name` for the old repositories without an owner.
    """

    source_type: ClassVar[str] = HUGGINGFACE
    has_secret: ClassVar[bool] = False

    repo: str
    revision: str = DEFAULT_REVISION
    path: str = ""
    is_folder: bool = False
    quant: str = ""
    repo_type: str = "model"

    @property
    def repo_path(self) -> str:
        """The repository as a path of the site: datasets have a prefix."""
        return f"datasets/{self.repo}" if self.repo_type == "dataset" else self.repo

    @property
    def page_url(self) -> str:
        """The page of what is named, on the public site."""
        base = f"https://huggingface.co/{quote(self.repo_path)}"
        if not self.path:
            return base + ("" if self.revision == DEFAULT_REVISION else f"/tree/{self._revision}")
        view = "tree" if self.is_folder else "blob"
        return f"{base}/{view}/{self._revision}/{quote(self.path)}"

    @property
    def _revision(self) -> str:
        return quote(self.revision, safe="")

    @property
    def display(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self.quant:
            revision = "" if self.revision == DEFAULT_REVISION else f"@{self._revision}"
            return f"https://hf.co/{quote(self.repo)}{revision}:{quote(self.quant, safe='')}"
        return self.page_url


@dataclass(frozen=True, slots=True)
class DirectReference:
    """A plain link. Its query may be a signature or a key, so it is kept out of `repr`."""

    source_type: ClassVar[str] = DIRECT

    url: str = field(repr=False)

    @property
    def has_secret(self) -> bool:
        """The query holds something else than a well-known harmless choice."""
        query = urlsplit(self.url).query
        if not query:
            return False
        pairs = parse_qsl(query, keep_blank_values=True)
        return not pairs or any(
            key.lower() not in _HARMLESS_KEYS or len(value) > _HARMLESS_VALUE_LENGTH
            for key, value in pairs
        )

    @property
    def display(self) -> str:
        """The link as it may be shown, stored and logged."""
        return display_url(self.url) if self.has_secret else self.url

    @property
    def page_url(self) -> str:
        return self.display

    def __str__(self) -> str:
        return self.url


Reference = CivitaiReference | HuggingFaceReference | DirectReference

r"""The one parser of URLs: what it returns is what is checked, resolved, asked and shown.

    http(s)://HOST[:PORT][/PATH][?QUERY]

Two parsers that read a URL differently are how a check is passed by (`http://a\@b/`), so what is
unusual is refused instead of repaired: user info, backslashes, control characters, percent signs in
the host, and every spelling of an IPv4 address other than four plain decimals (127.1, 0x7f000001,
0177.0.0.1, 2130706433, circled digits, a dot at the end), because `getaddrinfo` understands them.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, urljoin

import idna

from transfer.errors import UrlNotAllowed

MAX_URL_CHARS = 8192  # signed URLs of object stores reach 2,500
NOT_ALLOWED = "Only http and https links to public hosts are accepted."
DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<netloc>[^/?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
_REFUSED_CHARS = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")
_NETLOC = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER_AT_END = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$", re.ASCII)
# Percent signs stay: what is encoded already is not encoded twice.
_PATH_SAFE = "/%:@!$&'()*+,;=-._~"
_QUERY_SAFE = _PATH_SAFE + "?[]|{}"
_ASCII = "".join(map(chr, range(0x20, 0x7F)))


class Origin(NamedTuple):
    """Who is asked: credentials are bound to exactly this."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True)
class ParsedUrl:
    """A URL in its only form. `target` (path and query) may be secret and is not in the repr."""

    origin: Origin
    target: str = field(repr=False)

    def __str__(self) -> str:
        return f"{origin_text(self.origin)}{self.target}"

    @property
    def literal(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The address, when the host is one and no name."""
        try:
            return ipaddress.ip_address(self.origin.host)
        except ValueError:
            return None

    @property
    def display(self) -> str:
        """`scheme://host/path`, fit for messages: signatures and tokens live in the query."""
        return origin_text(self.origin) + self.target.partition("?")[0]


def origin_text(origin: Origin) -> str:
    """`scheme://host[:port]`, the port only when it is not the usual one."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    port = "" if origin.port == DEFAULT_PORTS[origin.scheme] else f":{origin.port}"
    return f"{origin.scheme}://{host}{port}"


def parse_url(text: str) -> ParsedUrl:
    """The URL in its only form; raises UrlNotAllowed for everything that is not plainly one."""
    if len(text) > MAX_URL_CHARS or _REFUSED_CHARS.search(text):
        raise UrlNotAllowed(NOT_ALLOWED)
    match = _URL.fullmatch(text)
    if match is None or match["scheme"].lower() not in DEFAULT_PORTS:
        raise UrlNotAllowed(NOT_ALLOWED)
    netloc = _NETLOC.fullmatch(match["netloc"])
    if netloc is None:  # user info, two colons, a port that is no number
        raise UrlNotAllowed(NOT_ALLOWED)
    scheme = match["scheme"].lower()
    port = int(netloc["port"]) if netloc["port"] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise UrlNotAllowed(NOT_ALLOWED)
    return ParsedUrl(Origin(scheme, parse_host(netloc["host"]), port), _target(match["rest"]))


def parse_host(text: str) -> str:
    """A host as it is resolved and compared: lower case, ASCII, no dot at the end, no brackets.

    Raises UrlNotAllowed.
    """
    if text.startswith("["):
        return _parse_v6(text[1:-1])
    host = text.lower()
    if not host.isascii():
        try:
            # Strict IDNA 2008, without the mappings that turn circled digits into digits.
            host = idna.encode(unicodedata.normalize("NFC", host)).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise UrlNotAllowed(NOT_ALLOWED) from None
        if _NUMBER_AT_END.search(host):  # dots of other scripts
            raise UrlNotAllowed(NOT_ALLOWED)
    if _NUMBER_AT_END.search(host.removesuffix(".")):
        return _parse_v4(host)
    host = host.removesuffix(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise UrlNotAllowed(NOT_ALLOWED)
    return host


def _parse_v4(host: str) -> str:
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise UrlNotAllowed(NOT_ALLOWED) from None


def _parse_v6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise UrlNotAllowed(NOT_ALLOWED) from None
    if address.scope_id is not None:
        raise UrlNotAllowed(NOT_ALLOWED)
    return str(address)


def _target(rest: str) -> str:
    rest = rest.partition("#")[0]
    path, mark, query = rest.partition("?")
    return quote(path or "/", safe=_PATH_SAFE) + mark + quote(query, safe=_QUERY_SAFE)


def join_url(base: ParsedUrl, location: str) -> ParsedUrl:
    """Where a Location header leads; relative ones are joined (RFC 9110 10.2.2).

    `location` is as `http.client` gives it: bytes read as Latin-1. Raises UrlNotAllowed.
    """
    text = location.strip(" \t")
    if not text or _REFUSED_CHARS.search(text):
        raise UrlNotAllowed(NOT_ALLOWED)
    try:
        joined = urljoin(str(base), quote(text.encode("latin-1"), safe=_ASCII))
    except ValueError:  # no header that came over the wire, or brackets that urllib does not like
        raise UrlNotAllowed(NOT_ALLOWED) from None
    return parse_url(joined)


def display_url(url: str) -> str:
    """`scheme://host/path` for messages; a text that is no URL becomes "(unreadable link)"."""
    try:
        return parse_url(url).display
    except UrlNotAllowed:
        return "(unreadable link)"


def origin_of(url: str) -> Origin:
    """Scheme, host and port of a URL; raises UrlNotAllowed."""
    return parse_url(url).origin

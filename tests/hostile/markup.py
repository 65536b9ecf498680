"""What in a page could run or load something that is not ours."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlsplit

FORBIDDEN_TAGS = frozenset(
    {"iframe", "frame", "object", "embed", "applet", "base", "marquee", "math", "foreignobject"}
)
LINKS = frozenset({"href", "src", "action", "formaction", "xlink:href", "poster", "srcset", "data"})
#: What only loads when somebody clicks may lead elsewhere.
CLICKED = frozenset({"a", "area"})


class Markup(HTMLParser):
    """Feed it a page; `active` then holds what is not allowed, in words."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.active: list[str] = []
        self.tags: set[str] = set()
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self._in_script = tag == "script" and values.get("type") != "application/json"
        if tag in FORBIDDEN_TAGS or (tag == "meta" and "http-equiv" in values):
            self.active.append(f"<{tag}>")
        for name, value in values.items():
            if name.startswith("on"):
                self.active.append(f"<{tag} {name}>")
            if name in LINKS:
                self._look_at(tag, name, value)

    def _look_at(self, tag: str, name: str, value: str) -> None:
        address = "".join(value.split()).lower()
        scheme, host = urlsplit(address)[:2] if "[" not in address else ("", "")
        if scheme in {"javascript", "vbscript", "file"} or (scheme == "data" and tag != "img"):
            self.active.append(f"<{tag} {name}={scheme}:>")
        elif host and tag not in CLICKED:
            self.active.append(f"<{tag} {name} to {host}>")

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.active.append("a script inside the page")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_script = False


def active_markup(page: str) -> list[str]:
    markup = Markup()
    markup.feed(page)
    markup.close()
    return markup.active

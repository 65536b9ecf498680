"""Small parts that templates of all packages use."""

from __future__ import annotations

from datetime import datetime

import nh3
from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from config import wording

register = template.Library()

#: What a description may hold when it reaches a page; it was cleaned when it was stored, too.
_TAGS = {
    "a", "b", "blockquote", "br", "code", "em", "hr", "i", "li", "ol", "p",
    "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul",
}  # fmt: skip


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """One picture of our own sprite; without a label it is decoration."""
    sprite = static("icons.svg")
    if label:
        return format_html(
            '<svg class="icon" role="img" aria-label="{}"><use href="{}#{}"></use></svg>',
            label, sprite, name,
        )  # fmt: skip
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        sprite, name,
    )  # fmt: skip


@register.filter
def in_bytes(count: int | None) -> str:
    return wording.bytes_in_words(count)


@register.filter
def ago(moment: datetime | None) -> str:
    return wording.ago_in_words(moment, timezone.now())


@register.filter
def moment(value: datetime) -> str:
    return wording.moment_in_words(timezone.localtime(value), timezone.localtime())


@register.filter
def safe_html(text: str) -> SafeString:
    """A description as HTML without scripts, styles, pictures or forms; links open elsewhere."""
    cleaned = nh3.clean(
        text,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
    )
    return mark_safe(cleaned)  # noqa: S308  (nh3 has just cleaned it)

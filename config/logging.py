"""Logs: one JSON object a line, with every secret-looking value blotted out.

Tokens never reach a log on purpose; the filter is for what a library or a traceback may carry. It
works on the finished values, so texts inside lists and dicts, exceptions and stacks are covered.
Control characters cannot make a line of their own: JSON escapes them.
"""

from __future__ import annotations

import logging.config
import re
from collections.abc import Mapping
from typing import Any

import structlog

BLOT = "[redacted]"

#: Ends of names whose value is a secret, in queries, JSON, `repr`s and settings.
_NAME = (
    r"(?:token|api[_-]?key|secret(?:[_-]key)?|password|passwd|signature|credentials?"
    r"|access[_-]key(?:[_-]id)?|(?:private|encryption|client)[_-]key|cookie|sessionid)"
)
#: Names that mean a secret only in the query of a signed address.
_SIGNED = (
    r"(?:key|sig|auth|code|policy|expires|hdnts|key-pair-id|x-amz-[a-z0-9-]{1,40}"
    r"|x-goog-[a-z0-9-]{1,40})"
)
#: What was blotted out before stays as it is.
_BARE = r"""(?:\[redacted\]|[^\s"'&;,<>\])}\\]++)"""
_QUOTED = r"""(?:\[redacted\]|[^"'\\]++)"""
_GAP = r"\s{0,9}+"

#: Nothing in these can backtrack far: a text of somebody else must not cost more than its length.
RULES = tuple(
    re.compile(rf"(?i)(?P<keep>{before}){secret}")
    for before, secret in (
        # The whole line of a header.
        (
            (
                rf"""\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-api-key)["']?{_GAP}[:=]{_GAP}"""
                r"""(?:b(?=["']))?+["']?+"""
            ),
            r"""[^\r\n"']++""",
        ),
        (r"\b(?:bearer|basic)\s{1,9}+", r"[A-Za-z0-9._~+/=-]{6,}+"),
        # In a query, plain or escaped.
        (rf"(?:[?&;]|%3f|%26)(?:{_SIGNED}|{_NAME})(?:=|%3d)", _BARE),
        # A name with a quoted value, also inside a quoted text; a name with a bare one.
        (rf"""{_NAME}\\?["']?{_GAP}[:=]{_GAP}(?:b(?=\\?["']))?+\\?["']""", _QUOTED),
        (rf"{_NAME}(?:{_GAP}={_GAP}|%3d)", _BARE),
        # User and password of an address.
        (r"://", r"""(?:\[redacted\]|[^\s/@?\#"'<>]++)(?=@)"""),
    )
)
#: Tokens that are recognised by their own form wherever they stand.
TOKEN = re.compile(r"\b(?:hf_[A-Za-z0-9]{8,}+|my_[a-z0-9]{8}_[A-Za-z0-9_-]{16,}+)")


def redact(text: str) -> str:
    """`text` without values that look like secrets."""
    for rule in RULES:
        text = rule.sub(lambda found: found["keep"] + BLOT, text)
    return TOKEN.sub(BLOT, text)


SECRET_FIELD = re.compile(rf"(?i)(?:{_NAME}|authorization)$")


def redact_event(_logger: Any, _name: str, event: Any) -> Any:
    """Processor of structlog: the event with every text redacted, however deep."""
    return {key: _blot(key, value, 0) for key, value in event.items()}


def _blot(name: Any, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(name, str) and SECRET_FIELD.search(name):
        return BLOT
    if isinstance(value, str):
        return redact(value)
    if depth < 5 and isinstance(value, Mapping):
        return {str(key): _blot(key, item, depth + 1) for key, item in value.items()}
    if depth < 5 and isinstance(value, list | tuple | set | frozenset):
        return [_blot(None, item, depth + 1) for item in value]
    return redact(repr(value))


def configure(options: dict[str, Any]) -> None:
    """Called by Django with `settings.LOGGING`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        redact_event,
                        structlog.processors.JSONRenderer(ensure_ascii=True),
                    ],
                    "foreign_pre_chain": shared,
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": options.get("level", "INFO")},
            "loggers": {
                "urllib3": {"level": "WARNING"},
                "uvicorn.access": {"level": "WARNING"},
                "django_structlog": {"level": "WARNING"},
            },
        }
    )

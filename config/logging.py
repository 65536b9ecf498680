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

#: Names whose value is a secret, in a query (`?token=…`), in JSON and in `repr`s (`'token': '…'`).
_NAMES = r"""
    (?:[a-z0-9]+[_-])*
    (?:token|api[_-]?key|apikey|secret(?:[_-]key)?|password|passwd|signature|credentials?
      |access[_-]key(?:[_-]id)?|private[_-]key|encryption[_-]key|client[_-]secret|cookie|sessionid)
"""
_QUERY_NAMES = (
    r"(?:key|sig|auth|code|policy|expires|hdnts|key-pair-id|x-amz-[a-z0-9-]+|x-goog-[a-z0-9-]+)"
)

RULES = (
    # Authorization: Bearer x, Proxy-Authorization: Basic x, Cookie: a=b; c=d: the whole line.
    re.compile(
        r"""(?ix)(?P<keep>\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-api-key)\b["']?\s*[:=]\s*b?["']?)
        (?:(?:bearer|basic|token)\s+)?[^\r\n"']+"""
    ),
    re.compile(r"(?i)(?P<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}"),
    # ?name=value and &name=value.
    re.compile(
        rf"""(?ix)(?P<keep>(?:[?&;]|%3f|%26)(?:{_NAMES}|{_QUERY_NAMES})(?:=|%3d))[^\s"'&;,<>\])}}]+"""
    ),
    # name: value, "name": "value", name='value'.
    re.compile(rf"""(?ix)(?P<keep>\b{_NAMES}\\?["']?\s*[:=]\s*b?\\?["'])(?:(?!\\?["']).)+"""),
    re.compile(rf"""(?ix)(?P<keep>\b{_NAMES}\s*=\s*)(?!\[redacted\])[^\s"'&;,<>\])}}]+"""),
    # scheme://user:password@host
    re.compile(r"""(?x)(?P<keep>://)[^\s/@?\#"'<>]+(?=@)"""),
)
#: Tokens that are recognised by their own form wherever they stand.
TOKEN = re.compile(r"\b(?:hf_[A-Za-z0-9]{8,}|my_[a-z0-9]{8}_[A-Za-z0-9_-]{16,})")


def redact(text: str) -> str:
    """`text` without values that look like secrets."""
    for rule in RULES:
        text = rule.sub(lambda found: found["keep"] + BLOT, text)
    return TOKEN.sub(BLOT, text)


SECRET_FIELD = re.compile(rf"(?ix)^(?:{_NAMES}|authorization)$")


def redact_event(_logger: Any, _name: str, event: Any) -> Any:
    """Processor of structlog: the event with every text redacted, however deep."""
    return {key: _blot(key, value, 0) for key, value in event.items()}


def _blot(name: Any, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(name, str) and SECRET_FIELD.match(name):
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

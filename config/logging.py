"""Logs: one JSON object a line, with every secret-looking value blotted out.

Tokens never reach a log on purpose; the filter is for what a library or a traceback may carry.
"""

from __future__ import annotations

import logging.config
import re
from typing import Any

import structlog

SECRET = re.compile(
    r"""(?ix)
    (?P<keep>
        authorization["']?\s*[:=]\s*["']?(?:bearer\s+|basic\s+)? | bearer\s+
      | [?&;](?:token|api_?key|key|sig|signature|secret|password|access_token|auth
          |x-amz-[a-z0-9-]+|x-goog-[a-z0-9-]+|policy|key-pair-id|expires)=
      | ://(?=[^/\s@]*@)
    )
    [^\s"'&;,<>]+
    """
)
#: Tokens that are recognised by their own form wherever they stand.
TOKEN = re.compile(r"\b(?:hf_[A-Za-z0-9]{8,}|my_[a-z0-9]{8}_[A-Za-z0-9_-]{16,})")


def redact(text: str) -> str:
    """`text` without values that look like secrets."""
    return TOKEN.sub("[redacted]", SECRET.sub(lambda found: found["keep"] + "[redacted]", text))


def redact_event(_logger: Any, _name: str, event: dict[str, Any]) -> dict[str, Any]:
    return {key: redact(value) if isinstance(value, str) else value for key, value in event.items()}


def configure(options: dict[str, Any]) -> None:
    """Called by Django with `settings.LOGGING`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        redact_event,
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

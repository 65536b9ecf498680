from __future__ import annotations

import io
import json
import logging
import time
from typing import Any

import pytest
import structlog

from config.logging import BLOT, redact, redact_event
from tests.canaries import canary, traces

TOKEN = canary("civitai log")
HF = canary("huggingface log")
KEY = "my_abcdefgh_" + "Zz9-_" * 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Headers.
        (f"Authorization: Bearer {TOKEN}", "Authorization: [redacted]"),
        (f"authorization: basic {TOKEN}", "authorization: [redacted]"),
        (f"{{'Authorization': 'Bearer {TOKEN}'}}", "{'Authorization': '[redacted]'}"),
        (f"b'Authorization': b'Bearer {TOKEN}'", "b'Authorization': b'[redacted]'"),
        (f"Cookie: sessionid={TOKEN}; csrftoken={TOKEN}", "Cookie: [redacted]"),
        (f"Set-Cookie: a={TOKEN}; Path=/", "Set-Cookie: [redacted]"),
        (f"X-Api-Key: {TOKEN}", "X-Api-Key: [redacted]"),
        (f"sent bearer {TOKEN} to it", "sent bearer [redacted] to it"),
        # Addresses.
        (f"https://h/f?token={TOKEN}", "https://h/f?token=[redacted]"),
        (f"https://h/f?a=1&token={TOKEN}&b=2", "https://h/f?a=1&token=[redacted]&b=2"),
        (f"https://h/f?api_key={TOKEN}#x", "https://h/f?api_key=[redacted]"),
        (f"https://h/f?x-access-token={TOKEN}", "https://h/f?x-access-token=[redacted]"),
        (f"?next=%3Ftoken%3D{TOKEN}", "?next=%3Ftoken%3D[redacted]"),
        (
            f"https://s3/f?X-Amz-Signature={TOKEN}&X-Amz-Expires=86400&X-Amz-Credential=AK%2F1",
            ("https://s3/f?X-Amz-Signature=[redacted]&X-Amz-Expires=[redacted]"
            "&X-Amz-Credential=[redacted]"),
        ),
        (
            f"https://cdn/f?Expires=1&Signature={TOKEN}~&Key-Pair-Id=K2",
            "https://cdn/f?Expires=[redacted]&Signature=[redacted]&Key-Pair-Id=[redacted]",
        ),
        (f"https://g/f?X-Goog-Signature={TOKEN}", "https://g/f?X-Goog-Signature=[redacted]"),
        (f"https://user:{TOKEN}@h/f", "https://[redacted]@h/f"),
        (f"https://{TOKEN}@h/f", "https://[redacted]@h/f"),
        (f"postgres://u:{TOKEN}@db:5432/x", "postgres://[redacted]@db:5432/x"),
        (f"redis://:{TOKEN}@h:6379/0", "redis://[redacted]@h:6379/0"),
        # Values by name, as repr, JSON and settings write them.
        (f'{{"token": "{TOKEN}", "page": 2}}', '{"token": "[redacted]", "page": 2}'),
        (f"save(token='{TOKEN}', n=1)", "save(token='[redacted]', n=1)"),
        (f"api_token={TOKEN} n=1", "api_token=[redacted] n=1"),
        (f"HF_TOKEN={TOKEN}", "HF_TOKEN=[redacted]"),
        (f"ENCRYPTION_KEY={TOKEN}==", "ENCRYPTION_KEY=[redacted]"),
        (f'password: "two {TOKEN} words"', 'password: "[redacted]"'),
        (f'{{\\"secret\\": \\"{TOKEN}\\"}}', '{\\"secret\\": \\"[redacted]\\"}'),
        # By their own form.
        (f"it was {HF}!", "it was [redacted]!"),
        (f"key {KEY} made", "key [redacted] made"),
        # What is none stays as it is.
        ("https://h/f?page=2&sort=key", "https://h/f?page=2&sort=key"),
        ("3 tokens of 2 users, key order, a secret place", "3 tokens of 2 users, key order, a secret place"),
        ("https://h/@user/f", "https://h/@user/f"),
        ("mail alice@example.org", "mail alice@example.org"),
        ("Token 5 cannot be decrypted", "Token 5 cannot be decrypted"),
        ("", ""),
    ],
)  # fmt: skip
def test_secrets_are_blotted_out_and_the_rest_stays(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(redact(text)) == expected


def test_fields_are_blotted_by_name_and_deep_down() -> None:
    event = {
        "event": "x",
        "token": TOKEN,
        "headers": {"Authorization": f"Bearer {TOKEN}", "Range": "bytes=0-"},
        "urls": [f"https://h/?token={TOKEN}"],
        "n": 3,
        "nothing": None,
        "error": ValueError(f"https://u:{TOKEN}@h"),
    }
    clean = redact_event(None, "info", event)
    assert not traces(json.dumps(clean))
    assert clean["token"] == BLOT
    assert clean["headers"]["Range"] == "bytes=0-"
    assert (clean["n"], clean["nothing"]) == (3, None)


@pytest.fixture
def output() -> Any:
    """What the configured handler writes, without pytest's own handlers in between."""
    stream = io.StringIO()
    (ours,) = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter)
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(ours.formatter)
    logger = logging.getLogger("tests.output")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_a_line_is_one_json_object(output: io.StringIO) -> None:
    logging.getLogger("tests.output").warning("hello %s", "world", extra={"download": 5})
    line = json.loads(output.getvalue())
    assert (line["event"], line["level"], line["logger"]) == (
        "hello world", "warning", "tests.output",
    )  # fmt: skip
    assert line["download"] == 5
    assert line["timestamp"].endswith("Z")


def test_a30_text_of_others_cannot_make_a_line_of_its_own(output: io.StringIO) -> None:
    evil = 'x\r\n{"event": "forged"}\x1b[2J\u2028\x00\ud800'
    logging.getLogger("tests.output").warning("name is %s", evil)
    written = output.getvalue()
    assert written.count("\n") == 1
    assert written.isascii()
    assert "\x1b" not in written
    assert json.loads(written)["event"] == f"name is {evil}"


#: No canary: what pytest itself shows of a test is not redacted.
SECRET = "s3cr3t" * 4


def fetch_with(headers: dict[str, str]) -> None:
    raise OSError(f"could not fetch https://h/f?token={SECRET} with {headers}")


def test_tracebacks_are_redacted(output: io.StringIO) -> None:
    logger = logging.getLogger("tests.output")
    try:
        fetch_with({"Authorization": f"Bearer {SECRET}"})
    except OSError:
        logger.exception("it failed")
    line = json.loads(output.getvalue())
    assert "could not fetch" in line["exception"]
    assert SECRET not in output.getvalue()


def test_values_of_structlog_itself_are_redacted(output: io.StringIO) -> None:
    structlog.get_logger("tests.output").warning(
        "x", url=f"https://h/?token={SECRET}", nested={"api_key": SECRET}
    )
    assert SECRET not in output.getvalue()
    assert json.loads(output.getvalue())["url"] == "https://h/?token=[redacted]"


@pytest.mark.parametrize(
    "part",
    ["token=", "a_", "?", "authorization: ", "://", '"token": "', "-key", "?a-", "token ", "a",
     "?x-amz-", "bearer ", "://a", "'token\\\\", "hf_a", "my_abcdefgh_", "secret-", "\\\\"],
)  # fmt: skip
def test_redacting_costs_no_more_than_the_length(part: str) -> None:
    def seconds(length: int) -> float:
        text = part * (length // len(part))
        start = time.perf_counter()
        redact(text)
        return time.perf_counter() - start

    seconds(1000)
    assert seconds(200_000) < 2

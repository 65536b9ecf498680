from __future__ import annotations

import io
from typing import Any

import pytest
from rest_framework.exceptions import APIException, ParseError

from config.parsers import StrictJSONParser


def parse(body: bytes) -> Any:
    return StrictJSONParser().parse(io.BytesIO(body))


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
        (b" 5 ", 5),
        ('"ü😀"'.encode(), "ü😀"),
        (b'{"a": 1e3}', {"a": 1000.0}),
    ],
)
def test_json_is_read(body: bytes, value: Any) -> None:
    assert parse(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nul", b"{'a': 1}", b'{"a": 1,}', b'{"a": 1} x', b"// x\n1",
        b'{"a": 1, "a": 2}', b'{"x": {"a": 1, "a": 1}}',
        b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000,
        b"[" * 30 + b"]" * 30, b"[" * 100_000, b'{"a":' * 21 + b"1" + b"}" * 21,
        b'"\xff"', b"\xef\xbb\xbf{}", b'"\\ud800"', b'{"\\udc00": 1}',
        b'{"\\u0000": 1}', b'"\x00"', b'"line\nbreak"',
    ],
)  # fmt: skip
def test_b12_what_is_not_strict_json_is_a_400(body: bytes) -> None:
    with pytest.raises(ParseError):
        parse(body)


def test_twenty_levels_are_enough() -> None:
    assert parse(b"[" * 20 + b"]" * 20)


def test_a_body_that_is_too_large_is_a_413_and_is_not_read_on(settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    stream = io.BytesIO(b'"' + b"x" * 5000 + b'"')
    with pytest.raises(APIException) as caught:
        StrictJSONParser().parse(stream)
    assert caught.value.status_code == 413
    assert stream.tell() == 101


def test_the_reason_repeats_nothing_of_the_body() -> None:
    with pytest.raises(ParseError) as caught:
        parse(b'{"token": "very-secret\xff"}')
    assert "secret" not in str(caught.value.detail)

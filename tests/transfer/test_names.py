"""B4-B6, B8 and A27 as tables."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer.errors import UnsafePath
from transfer.names import (
    MAX_NAME_BYTES,
    name_from_headers,
    numbered,
    path_key,
    safe_name,
    safe_relative_path,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("..", "model"), (".", "model"), ("", "model"), ("   ", "model"), ("/", "model"),
        ("a/b.gguf", "b.gguf"), ("a\\b.gguf", "b.gguf"), ("C:x.bin", "x.bin"),
        ("C:\\models\\x.bin", "x.bin"), ("\\\\host\\x", "x"), ("/abs", "abs"), ("~x", "x"),
        ("-rf", "rf"), (".hidden", "hidden"), ("x.safetensors. . ", "x.safetensors"),
        ("a/../../b", "b"), ("a/..", "a"), ("..\\..\\x", "x"), ("%2e%2e", "%2e%2e"),
        ("CON", "_CON"), ("nul.txt", "_nul.txt"), ("COM1.txt", "_COM1.txt"), ("lpt¹", "_lpt¹"),
        ("CONFIG.json", "CONFIG.json"), ("a<b>:c|d?e*.bin", "a_b__c_d_e_.bin"),
        ("ab\x00c\x1b[0m.bin", "abc[0m.bin"), ("a\r\nb.bin", "a b.bin"),
        ("x\u202egnp.bin", "xgnp.bin"), ("a\u200bb\ufeff.bin", "ab.bin"), ("a／b.bin", "b.bin"),
        ("a∕b⁄c.bin", "c.bin"), ("a：b.bin", "a_b.bin"), ("\u3164", "model"),
        ("e\u0301.bin", "\u00e9.bin"), ("\ud800x.bin", "x.bin"), ("🙂.gguf", "🙂.gguf"),
        ("X.SafeTensors", "X.SafeTensors"), ("model.safetensors.html", "model.safetensors.html"),
    ],
)  # fmt: skip
def test_a_name_becomes_one_safe_component(text, name):
    assert safe_name(text) == name


@pytest.mark.parametrize(
    "text", ["x" * 255 + ".safetensors", "x" * 4096, "é" * 150 + ".gguf", "🙂" * 100 + ".ckpt"]
)
def test_long_names_are_cut_at_a_character_and_keep_their_extension(text):
    name = safe_name(text)
    assert len(name.encode()) <= MAX_NAME_BYTES
    if "." in text:
        assert name.endswith(text[text.rindex(".") :])


def assert_harmless(name: str) -> None:
    assert name not in {"", ".", ".."}
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert not set(name) & set('/\\:*?"<>|\0')
    assert name[0] not in ".-~ "
    assert name[-1] not in " ."
    assert unicodedata.normalize("NFC", name) == name
    assert all(unicodedata.category(ch)[0] != "C" for ch in name)


@given(st.text(max_size=300))
def test_no_text_makes_an_unsafe_name(text):
    name = safe_name(text)
    assert_harmless(name)
    assert safe_name(name) == name


@given(st.text(max_size=300), st.text(max_size=100))
def test_no_header_makes_an_unsafe_name(header, path):
    assert_harmless(name_from_headers(header, f"https://example.com/{path}", "model"))


@given(st.text(max_size=100), st.integers(2, 10**6))
def test_a_numbered_name_is_safe_and_another_one(text, n):
    name = safe_name(text)
    assert_harmless(numbered(name, n))
    assert numbered(name, n) != name


def test_numbers_stand_before_the_extension():
    assert numbered("x.safetensors", 2) == "x-2.safetensors"
    assert numbered("x", 3) == "x-3"
    assert len(numbered("é" * 94 + ".safetensors", 12).encode()) <= MAX_NAME_BYTES


@pytest.mark.parametrize(
    "path",
    ["", "/abs", "a//b", "../x", "a/../b", "a/..", "a/./b", "a\\b", "C:x", "C:/x", "a/b/", "\\\\h\\x",
     "a/ .. /b", "a\x00b", "/".join("a" * 17), "/".join(["y" * 190] * 6), "a/\u200b/b", "."],
)  # fmt: skip
def test_climbing_absolute_and_endless_paths_are_refused(path):
    with pytest.raises(UnsafePath):
        safe_relative_path(path)


def test_a_path_is_cleaned_component_by_component():
    assert safe_relative_path("Models/Stable-diffusion/x.safetensors") == (
        "Models/Stable-diffusion/x.safetensors"
    )
    assert safe_relative_path(".modelyard/partials/CON") == "modelyard/partials/_CON"


def test_paths_that_look_alike_share_a_key():
    assert path_key("Loras/Foo\u00e9.bin") == path_key("loras/FOOe\u0301.BIN")
    assert path_key("a/ß") == path_key("A/SS")
    assert path_key("a/b") != path_key("a/c")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a b.safetensors"', "a b.safetensors"),
        ("attachment; filename=a.bin", "a.bin"),
        ("attachment; filename=un quoted.bin", "un quoted.bin"),
        ("attachment; filename=\"x.bin\"; filename*=UTF-8''%E2%82%AC.bin", "€.bin"),
        ("attachment; filename*=UTF-8''%E2%82%AC.bin; filename=\"x.bin\"", "€.bin"),
        ("inline; filename*=utf-8'en'a%2F..%2Fb.bin", "b.bin"),
        ("attachment; filename*=koi8-r''%D0.bin; filename=y.bin", "y.bin"),
        ("attachment; filename*=UTF-8''%FF%FE.bin; filename=y.bin", "y.bin"),
        ("attachment; filename*=broken.bin; filename=y.bin", "y.bin"),
        ('attachment; filename="first.bin"; filename="second.bin"', "first.bin"),
        ('attachment; FileName="A\\"B;c.bin"', "A_B;c.bin"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\x\\\\y.bin"', "y.bin"),
        ('attachment; filename="\u00c3\u00a4.bin"', "ä.bin"),  # UTF-8 read as Latin-1
        ('attachment; filename="\u00e4.bin"', "ä.bin"),
        ('attachment; filename=""', "c.gguf"),
        ("attachment", "c.gguf"),
        ("", "c.gguf"),
        ("x" * 100_000, "c.gguf"),
        (';filename="' * 20_000, ";filename="),
    ],
)
def test_the_name_of_a_header_else_of_the_url(header, name):
    assert name_from_headers(header, "https://example.com/a%20b/c.gguf?name=d", "fallback") == name


def test_the_fallback_names_what_nothing_else_names():
    assert name_from_headers("", "https://example.com/", "4711.safetensors") == "4711.safetensors"
    assert name_from_headers("", "no url", "../x.bin") == "x.bin"

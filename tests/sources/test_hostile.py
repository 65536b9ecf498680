"""Answers with any value of any type anywhere: only clear errors, and only sound values, come out."""

from __future__ import annotations

import copy
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sources.errors import SourceError
from sources.parse import parse_reference
from sources.refs import Endpoints
from sources.resolution import Resolution
from tests.sources.fakes import (
    CIVITAI,
    DATA,
    HUB,
    FakeClient,
    civitai_routes,
    recorded,
    resolver,
)

junk = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1.5, 10**30, 5 * 10**12, 1e308, 2147483648),
        *("", "x", "\x00", "\ud800", "A" * 100_000, "<script>alert(1)</script>", "../../x", "12"),
        *(
            "2026-99-99T99:99:99Z",
            "9999-12-31T23:59:59Z",
            "javascript:alert(1)",
            "https://[",
            "\u202e",
        ),
        *([], {}, [[]], [None], [{}], {"a": {"b": {"c": {"d": {"e": {}}}}}}, ["x"] * 3000),
    ]
)
CIVITAI_MODELS = sorted(path.name for path in (DATA / "civitai").glob("model_*.json"))
HUB_MODELS = sorted(path.name for path in (DATA / "huggingface").glob("model_*.json"))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value but the id by which it is asked for."""
    found = [path] if path not in {(), ("id",)} else []
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def spoiled(value: Any, data: st.DataObject, known: list[tuple[Any, ...]]) -> Any:
    value = copy.deepcopy(value)
    for path in data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=6)):
        inner = value
        try:
            for key in path[:-1]:
                inner = inner[key]
            if data.draw(st.booleans()):
                inner[path[-1]] = data.draw(junk)
            else:
                del inner[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took this place away
    return value


def check(text: str, routes: dict[str, Any]) -> None:
    try:
        found = resolver(FakeClient(routes)).resolve(parse_reference(text, Endpoints()))
    except SourceError:
        return
    plain = found.as_dict()
    text = json.dumps(plain, allow_nan=False, ensure_ascii=False)
    text.encode()  # no lone surrogate
    assert "\\u0000" not in text  # PostgreSQL's jsonb takes none
    assert "<script" not in found.description + found.version_description
    assert Resolution.from_dict(json.loads(json.dumps(plain))) == found
    assert found.chosen
    for file_id in found.chosen:
        found.file(file_id)
    assert parse_reference(found.reference, Endpoints())
    for file in found.files:
        assert file.url.startswith((f"{CIVITAI}/api/download/", f"{HUB}/"))
        assert 0 < len(file.name.encode()) <= 255
        assert "/" not in file.name
        assert len(file.file_id) <= 1024
        assert file.size_bytes is None or 0 <= file.size_bytes < 2**63
    for name, limit in (
        ("name", 300),
        ("version_name", 300),
        ("base_model", 100),
        ("creator", 200),
    ):
        value = getattr(found, name)
        assert len(value) <= limit
        assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs"} for char in value)
    assert all(preview.url.startswith(("http://", "https://")) for preview in found.previews)
    assert len(text) < 2_000_000


slow_data = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("name", CIVITAI_MODELS)
@slow_data
@given(data=st.data())
def test_a_spoiled_model_is_read_or_refused(name: str, data: st.DataObject) -> None:
    model = recorded(f"civitai/{name}")
    known = places(model)
    spoilt = spoiled(model, data, known)
    check(str(model["id"]), {f"{CIVITAI}/api/v1/models/{model['id']}": spoilt})


@slow_data
@given(data=st.data())
def test_a_spoiled_version_is_read_or_refused(data: st.DataObject) -> None:
    version = recorded("civitai/version_1387174_lora_2025.json")
    model = recorded("civitai/model_1231067_lora_2025.json")
    routes = civitai_routes(
        model=model, version=spoiled(version, data, places(version)) | {"id": 1387174}
    )
    check(f"{model['id']}@1387174", routes)
    check("https://civitai.com/model-versions/1387174", routes)


@pytest.mark.parametrize("name", HUB_MODELS)
@slow_data
@given(data=st.data())
def test_a_spoiled_repository_is_read_or_refused(name: str, data: st.DataObject) -> None:
    info = recorded(f"huggingface/{name}")
    tree = recorded("huggingface/tree_wzshiming_test_recursive_lfs_xet_2026.json")
    routes = {
        f"{HUB}/api/models/{info['id']}": spoiled(info, data, places(info)),
        f"{HUB}/api/models/{info['id']}/tree/{info.get('sha', 'main')}": spoiled(
            tree, data, places(tree)
        ),
    }
    check(info["id"], routes)


@given(value=junk, other=junk)
def test_answers_that_are_nothing_like_it(value: Any, other: Any) -> None:
    check("5", {f"{CIVITAI}/api/v1/models/5": value, f"{CIVITAI}/api/v1/model-versions/5": other})
    check("https://civitai.com/model-versions/5", {f"{CIVITAI}/api/v1/model-versions/5": value})
    check("o/n", {f"{HUB}/api/models/o/n": value, f"{HUB}/api/models/o/n/tree/main": other})

"""Two workers at the same moment, on both databases."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from registry.errors import PathTaken
from registry.inspect.verdict import Verdict
from registry.models import Asset, Root
from registry.roots import default_root, root_path
from registry.services import register_file, resolve_placement

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What every call returned or raised; all start together."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(number: int, call: Callable[[], Any]) -> None:
        barrier.wait(timeout=10)
        try:
            results[number] = call()
        except Exception as error:  # noqa: BLE001  (looked at by the test)
            results[number] = error
        finally:
            connection.close()

    threads = [
        threading.Thread(target=run, args=(number, call)) for number, call in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results


def registering(body: bytes) -> Callable[[], Asset]:
    placement = resolve_placement(model_type="vae", file_name="x.safetensors")
    return lambda: register_file(
        placement=placement,
        name="A model",
        model_type="vae",
        size_bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        verdict=Verdict(accepted=True),
        verification="verified",
    )


def test_of_two_files_for_one_place_one_gets_it() -> None:
    results = at_once(*(registering(str(number).encode()) for number in range(4)))
    winners = [result for result in results if isinstance(result, Asset)]
    assert len(winners) == 1, results
    assert sum(isinstance(result, PathTaken) for result in results) == 3, results
    assert Asset.objects.count() == 1


def test_the_same_file_registered_twice_at_once_is_one_asset() -> None:
    results = at_once(*(registering(b"same") for _ in range(4)))
    assert {getattr(result, "pk", result) for result in results} == {Asset.objects.get().pk}


def test_the_first_use_of_the_models_directory_by_several_makes_one_root() -> None:
    results = at_once(*[default_root] * 4)
    assert {getattr(result, "pk", result) for result in results} == {Root.objects.get().pk}
    assert root_path(Root.objects.get()).is_dir()

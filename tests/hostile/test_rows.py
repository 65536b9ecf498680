"""Every attack and every bad input of the catalogue has a test: here, or where its subject lives."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from pathlib import Path

import pytest

from tests.product import ROOT

FOLDER = Path(__file__).parent
#: A23 to A25 are about the hosts of the worker pool.
ROWS = [f"A{n}" for n in (*range(1, 23), *range(26, 41))] + [f"B{n}" for n in range(1, 17)]
#: Rows whose first place is elsewhere; the tests here only add to most of them.
ELSEWHERE = {
    "A6": ["tests/transfer/test_http.py::test_a_peer_that_is_not_the_checked_address_gets_no_byte"],
    "A7": ["tests/transfer/test_http.py::test_https_never_leads_to_http"],
    "A8": ["tests/transfer/test_http.py::test_environment_proxies_and_netrc_are_ignored"],
    "A11": [
        "tests/transfer/test_http.py::test_a_credential_goes_to_its_origins_and_nowhere_else",
        "tests/transfer/test_http.py::test_a_credential_does_not_travel_over_plain_http",
        "tests/transfer/test_http.py::test_callers_cannot_send_credentials_as_headers",
    ],
    "A12": [
        "tests/config/test_logging.py::test_secrets_are_blotted_out_and_the_rest_stays",
        "tests/test_canaries.py",
    ],
    "A14": [
        "tests/tokens/test_services.py::test_a_ciphertext_moved_to_another_user_opens_for_nobody",
        "tests/tokens/test_services.py::test_a_ciphertext_moved_to_another_service_does_not_open",
        "tests/tokens/test_services.py::test_a_sealed_text_opens_for_its_row_only",
    ],
    "A15": [
        "tests/tokens/test_crypto.py::test_every_write_has_a_nonce_of_its_own",
        "tests/tokens/test_crypto.py::test_no_bit_of_a_blob_can_be_changed_unnoticed",
        "tests/tokens/test_crypto.py::test_another_key_cannot_open",
    ],
    "A16": [
        "tests/tokens/test_commands.py::test_a_missing_key_is_named_at_start",
        "tests/tokens/test_commands.py::test_a_half_done_rotation_works_in_between_and_can_be_finished",
        "tests/tokens/test_commands.py::test_a_dry_run_writes_nothing",
    ],
    "A17": ["tests/test_roles.py::test_the_answers_are_the_decided_ones"],
    "A19": [
        "tests/test_roles.py::test_every_route_has_a_decision_and_every_decision_a_route",
        "tests/test_roles.py::test_a_method_without_a_decision_is_not_answered",
    ],
    "A21": ["tests/tokens/test_api.py::test_a21_a_session_needs_the_csrf_token"],
    "A22": [
        "tests/tokens/test_login.py::test_tries_sent_at_once_do_not_slip_past_the_count",
        "tests/downloads/test_limits.py::test_the_requests_of_a_day_are_bounded",
        "tests/config/test_api.py::test_a_body_without_a_length_is_a_413_when_it_has_grown_too_large",
    ],
    "A28": ["tests/transfer/test_publish.py::test_a_directory_that_is_exchanged_while_a_file_is_placed"],
    "A30": ["tests/config/test_logging.py::test_a30_text_of_others_cannot_make_a_line_of_its_own"],
    "A31": ["tests/registry/test_inspect.py::test_pickles_that_ask_for_more_are_not_safe"],
    "A33": [
        "tests/registry/test_inspect.py::test_a_header_bomb_ends_the_child_not_us",
        "tests/registry/test_inspect.py::test_the_child_knows_no_secret_and_can_open_nothing",
    ],
    "A40": ["tests/ops/test_admin.py::test_a40_what_admins_do_is_in_the_log"],
    "B8": ["tests/transfer/test_names.py::test_no_header_makes_an_unsafe_name"],
    "B9": ["tests/test_bad_inputs.py::test_b9_strange_digests"],
    "B12": ["tests/test_bad_inputs.py::test_b12_strange_values_of_every_field"],
    "B14": ["tests/test_bad_inputs.py::test_b14_strange_pages_orders_and_filters"],
    "B15": ["tests/sources/test_hostile.py::test_a_spoiled_model_is_read_or_refused"],
    "B16": ["tests/registry/test_inspect.py::test_broken_files_are_refused_with_a_reason"],
}  # fmt: skip


@functools.cache
def rows_here() -> set[str]:
    """The numbers that begin the ids of parameters, and those in the names of tests."""
    found: set[str] = set()
    for path in sorted(FOLDER.glob("test_*.py")):
        module = importlib.import_module(f"tests.hostile.{path.stem}")
        for name, value in vars(module).items():
            if name.startswith("test_"):
                found |= {part.upper() for part in re.findall(r"_([ab]\d+)(?=_)", name)}
            marks = getattr(value, "pytestmark", [])
            sets = [row for mark in marks if mark.name == "parametrize" for row in mark.args[1]]
            ids = (str(getattr(row, "id", "")) for row in sets)
            found |= {match[0] for one in ids if (match := re.match(r"[AB]\d+(?=-)", one))}
    return found


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_catalogue_has_a_test(row: str) -> None:
    assert row in rows_here() | set(ELSEWHERE)


@pytest.mark.parametrize("node", sorted({node for nodes in ELSEWHERE.values() for node in nodes}))
def test_what_is_tested_elsewhere_is_there(node: str) -> None:
    path, _, name = node.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    names = {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}
    assert name in names if name else any(one.startswith("test_") for one in names)


def test_most_rows_are_met_here() -> None:
    assert set(ROWS) - rows_here() == {"A14", "A15", "A16"}

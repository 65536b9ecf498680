"""What `manage.py pull` answers to the shell, from the error's code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    DONE = 0
    INTERNAL = 1
    NOT_ALLOWED = 2
    TOKEN = 3
    GONE = 4
    NETWORK = 5
    INTEGRITY = 6
    DISK = 7
    INTERRUPTED = 130


_CODES: dict[ExitCode, frozenset[str]] = {
    ExitCode.NOT_ALLOWED: frozenset(
        {
            "reference_not_understood",
            "url_not_allowed",
            "redirect_refused",
            "invalid",
            "placement_not_possible",
            "unsafe_path",
            "queue_full",
            "user_not_permitted",
            "duplicate",
            "illegal_transition",
            "too_large",
            "too_large_for_http",
            "token_not_usable",
            "unknown_service",
            "asset_in_use",
            "asset_state",
        }
    ),
    ExitCode.TOKEN: frozenset(
        {
            "token_required",
            "token_rejected",
            "token_refused",
            "token_unreadable",
            "licence_required",
            "early_access",
            "auth_required",
        }
    ),
    ExitCode.GONE: frozenset({"not_found_at_source", "not_downloadable", "remote_gone"}),
    ExitCode.INTEGRITY: frozenset(
        # A file of another size than its source lists is not the file.
        {"hash_mismatch", "size_mismatch", "not_a_model_file"}
    ),
    ExitCode.DISK: frozenset(
        {"no_space", "disk_error", "target_exists", "root_unavailable", "path_taken"}
    ),
    ExitCode.INTERNAL: frozenset({"internal_error", "worker_crashed"}),
    ExitCode.INTERRUPTED: frozenset({"stopped"}),
}
_BY_CODE = {code: exit_code for exit_code, codes in _CODES.items() for code in codes}


def exit_code_of(error_code: str) -> ExitCode:
    """The exit code of an error; what is not in the table is the network's or the source's."""
    return _BY_CODE.get(error_code, ExitCode.NETWORK)

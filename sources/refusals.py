"""What a refusal of a source means: the one place that reads the bodies of its errors.

The same status has several meanings, told apart by a text or a header only:

    CivitAI      401 "… requires you to be logged in …"        a token helps
                 401 "… has disabled downloads on this file"   no token helps
                 403 "Early Access" with a deadline            paid until then
                 403 "You do not have access …"                this account has no grant
                 404 on the download route                     gone, or a passing fault
                 410 archived, 451 not in this region
    HuggingFace  401 without X-Error-Code                      private or missing; or a bad token
                 401 GatedRepo                                 gated, and nobody is logged in
                 403 GatedRepo                                 gated, licence not accepted
                 404 RepoNotFound, RevisionNotFound, EntryNotFound

Nothing that a source wrote is shown to users; the sentences are ours.
"""

from __future__ import annotations

import json
from typing import Any

from config.errors import ModelyardError
from sources.errors import (
    EarlyAccess,
    LicenceRequired,
    NotDownloadable,
    NotFound,
    SourceError,
    SourceFormat,
    SourceUnavailable,
    TokenRejected,
    TokenRequired,
)
from sources.reading import as_dict, as_moment, as_prose
from sources.refs import CIVITAI, HUGGINGFACE
from transfer.errors import (
    AuthRequired,
    RedirectRefused,
    RemoteBusy,
    RemoteGone,
    RemoteStatus,
    TooLarge,
    TransferError,
    UrlNotAllowed,
)

NAMES = {CIVITAI: "CivitAI", HUGGINGFACE: "HuggingFace"}


def explain(
    error: TransferError, source_type: str, *, had_token: bool, page_url: str = ""
) -> ModelyardError:
    """The error of `sources` that a failed request stands for.

    `page_url` is where a person can accept a licence. UrlNotAllowed and RedirectRefused come back
    as they are: they say something about the link, not about the source.
    """
    if isinstance(error, UrlNotAllowed | RedirectRefused):
        return error
    if isinstance(error, AuthRequired):
        return _explain_auth(error, source_type, had_token=had_token, page_url=page_url)
    if isinstance(error, RemoteGone):
        return _explain_gone(error, source_type)
    if isinstance(error, RemoteStatus):
        return _explain_status(error, source_type)
    return _explain_trouble(error, NAMES.get(source_type, "The server"))


def _explain_status(error: RemoteStatus, source_type: str) -> SourceError:
    name = NAMES.get(source_type, "The server")
    if source_type == CIVITAI and error.status == 400:
        return NotFound("CivitAI does not know this id. Check the link.", status=400)
    return SourceFormat(
        f"{name} did not understand the request (status {error.status}).", status=error.status
    )


def _explain_trouble(error: TransferError, name: str) -> SourceError:
    if isinstance(error, RemoteBusy):
        return SourceUnavailable(
            f"{name} is busy (status {error.status}). Try again later.",
            retry_after_s=error.retry_after_s,
            status=error.status,
        )
    if isinstance(error, TooLarge):
        return SourceFormat(f"{name} sent more than its interface promises. Try a plain link.")
    return SourceUnavailable(f"{name} does not answer as it should. Try again later.")


def _explain_auth(
    error: AuthRequired, source_type: str, *, had_token: bool, page_url: str
) -> SourceError:
    if source_type == CIVITAI:
        return _explain_civitai(error, had_token=had_token)
    if source_type == HUGGINGFACE:
        return _explain_hub(error, had_token=had_token, page_url=page_url)
    return TokenRequired(
        "The server wants a login for this file, and Modelyard has none for it. Use a link that "
        "carries its own permission.",
        status=error.status,
    )


def _explain_civitai(error: AuthRequired, *, had_token: bool) -> SourceError:
    body = _body(error)
    text = _text(body)
    if not body and error.body.lstrip()[:1] == b"<":
        # Cloudflare's challenge, not CivitAI's word.
        return SourceUnavailable("CivitAI's guard turned the request away. Try again later.")
    if "disabled downloads" in text:
        return NotDownloadable("The creator has switched downloads of this file off.")
    if "early access" in text:
        until = as_moment(body.get("deadline"))
        when = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
        return EarlyAccess(f"This version is in paid early access{when}.", until=until)
    if had_token:
        return _civitai_token_refused(error.status)
    if error.status == 401:
        return TokenRequired(
            "The creator asks for a login. Save a CivitAI token under Settings, then try again."
        )
    return TokenRequired(
        "CivitAI gives this to certain accounts only. Save a token of such an account."
    )


def _civitai_token_refused(status: int) -> SourceError:
    if status == 401:
        return TokenRejected(
            "CivitAI does not accept the token that is saved for you. Renew it under Settings."
        )
    return NotDownloadable("Your CivitAI account has no access to this file.")


def _explain_hub(error: AuthRequired, *, had_token: bool, page_url: str) -> SourceError:
    if is_gated(error):
        return _explain_gate(error.status, had_token=had_token, page_url=page_url)
    if had_token:
        return TokenRejected(
            "HuggingFace does not accept the token that is saved for you. Renew it under Settings."
            if error.status == 401
            else "The saved HuggingFace token may not read this repository."
        )
    return TokenRequired(
        "This repository is private or does not exist. Check the name; for a private one save a "
        "HuggingFace token under Settings."
    )


def _explain_gate(status: int, *, had_token: bool, page_url: str) -> SourceError:
    where = f" at {page_url}" if page_url else " on its page"
    if status == 401 and had_token:
        return TokenRejected("HuggingFace does not accept the saved token. Renew it.")
    if status == 401:
        return TokenRequired(
            f"This repository is gated: accept its licence{where} and save a HuggingFace token of "
            "that account under Settings."
        )
    return LicenceRequired(
        f"This repository is gated: accept its licence{where} with the account of the saved "
        "token, then try again.",
        page_url=page_url,
    )


def is_gated(error: RemoteStatus) -> bool:
    """HuggingFace's refusal of a gated repository, in whichever form it came."""
    if error.headers.get("X-Error-Code") == "GatedRepo":
        return True
    message = error.headers.get("X-Error-Message") or ""
    text = f"{message} {_text(_body(error)) or error.body[:500].decode('utf-8', 'replace')}".lower()
    return any(hint in text for hint in ("gated", "is restricted", "authorized list"))


def _explain_gone(error: RemoteGone, source_type: str) -> SourceError:
    name = NAMES.get(source_type, "the server")
    if error.status == 451:
        return NotDownloadable(
            f"{name[0].upper()}{name[1:]} does not give this out in the region of this server.",
            status=451,
        )
    if error.status == 410 and source_type == CIVITAI:
        return NotDownloadable("The creator has archived this model; it cannot be downloaded.")
    missing = {
        "RepoNotFound": "There is no such repository at HuggingFace, or this token may not see it.",
        "RevisionNotFound": "The repository has no such branch, tag or commit.",
        "EntryNotFound": "The repository has no such file at this revision.",
    }
    code = error.headers.get("X-Error-Code") or ""
    return NotFound(
        missing.get(code) or f"There is nothing of that name at {name}. Check the link."
    )


def _body(error: RemoteStatus) -> dict[str, Any]:
    try:
        return as_dict(json.loads(error.body))
    except (ValueError, RecursionError):
        return {}


def _text(body: dict[str, Any]) -> str:
    """`error` may be a text or an object, `message` stands beside it or alone."""
    inner = as_dict(body.get("error"))
    parts = (body.get("error"), body.get("message"), inner.get("message"), inner.get("error"))
    return " ".join(as_prose(part, 500) for part in parts).strip().lower()

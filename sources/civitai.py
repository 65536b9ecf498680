"""CivitAI: from a reference to a resolution, in two calls.

    GET /api/v1/model-versions/{version}    files, pictures, usageControl, paidAccess, air
    GET /api/v1/models/{model}              creator, tags, licence, description, the other versions

Neither says everything, so both are asked, and each may be missing: a version that is not published
is in none of the lists, and the model may be gone while its version answers. What is certain is
only an id; without a version's id nothing can be downloaded, and that is the one SourceFormat here.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from config.errors import ModelyardError
from sources.calls import Calls
from sources.civitai_files import Listed
from sources.civitai_model import (
    Answers,
    build,
    is_empty,
    listed_files,
    refuse_what_cannot_come,
)
from sources.errors import (
    EarlyAccess,
    NotDownloadable,
    NotFound,
    SourceError,
    SourceFormat,
    SourceUnavailable,
    TokenRequired,
)
from sources.reading import as_dict, as_dicts, as_id, as_list, as_text
from sources.refs import CIVITAI, MAX_CIVITAI_ID, CivitaiReference
from sources.refusals import explain
from sources.resolution import Resolution, SourceFile
from transfer.errors import RemoteGone, TransferError

MAX_VERSIONS = 200


def resolve(
    reference: CivitaiReference, *, calls: Calls, endpoint: str, now: datetime
) -> Resolution:
    """Everything CivitAI says about what is named.

    Raises NotFound (it names the versions or files that exist), NotDownloadable, TokenRequired,
    TokenRejected, SourceFormat, SourceUnavailable.
    """
    answers = _ask(reference, calls, endpoint)
    refuse_what_cannot_come(answers)
    resolution = build(reference, answers, endpoint=endpoint, now=now)
    return _with_access(resolution, calls)


def _ask(reference: CivitaiReference, calls: Calls, endpoint: str) -> Answers:
    version, refusal = _get_named_version(reference, calls, endpoint)
    model_id = reference.model_id or as_id(version.get("modelId"), MAX_CIVITAI_ID)
    if refusal is not None and model_id is None:
        raise refusal
    model, missing = _get_model(model_id, calls, endpoint, needed=not version)
    others = as_dicts(model.get("modelVersions"))[:MAX_VERSIONS]
    _check_belongs(version, reference, others)
    named = reference.version_id or as_id(version.get("id"), MAX_CIVITAI_ID)
    listed = _version_of(others, named)
    if named is None:
        version, missing = _get_details(_id_of(listed), calls, endpoint)
    elif not version and not isinstance(refusal, NotFound):
        missing = "the details of the version"
    merged = {**listed, **{key: value for key, value in version.items() if not is_empty(value)}}
    return Answers(
        model=model or as_dict(merged.get("model")),
        version=merged,
        version_id=named or _id_of(merged),
        model_id=model_id,
        missing=missing,
        others=others,
    )


def _get_named_version(
    reference: CivitaiReference, calls: Calls, endpoint: str
) -> tuple[dict[str, Any], ModelyardError | None]:
    """The version that was named, or why CivitAI did not give it: its model may still list it."""
    if reference.version_id is None and not reference.sha256:
        return {}, None
    what = f"by-hash/{reference.sha256}" if reference.sha256 else str(reference.version_id)
    try:
        return _get(calls, f"{endpoint}/api/v1/model-versions/{what}"), None
    except (NotFound, SourceUnavailable, SourceFormat) as error:
        return {}, error


def _id_of(version: dict[str, Any]) -> int:
    number = as_id(version.get("id"), MAX_CIVITAI_ID)
    if number is None:
        raise SourceFormat("CivitAI's answer lacks the id of the version.")
    return number


def _get(calls: Calls, url: str) -> dict[str, Any]:
    """The object at `url`. Raises the errors of `sources`."""
    try:
        value = calls.get_json(url).value
    except TransferError as error:
        raise explain(error, CIVITAI, had_token=calls.has_token) from error
    if not isinstance(value, dict):
        raise SourceFormat("CivitAI's answer is not an object.")
    return value


def _get_model(
    model_id: int | None, calls: Calls, endpoint: str, *, needed: bool
) -> tuple[dict[str, Any], str]:
    """The model, and which part is missing when the version must do without it."""
    if model_id is None:
        return {}, ""
    try:
        return _get(calls, f"{endpoint}/api/v1/models/{model_id}"), ""
    except (NotFound, SourceUnavailable, SourceFormat):
        if needed:
            raise
        return {}, "the page of the model"


def _get_details(version_id: int, calls: Calls, endpoint: str) -> tuple[dict[str, Any], str]:
    """What only the version's own answer says; the list of the model is enough without it."""
    try:
        return _get(calls, f"{endpoint}/api/v1/model-versions/{version_id}"), ""
    except NotFound:
        return {}, ""
    except (SourceUnavailable, SourceFormat):
        return {}, "the details of the version"


def _version_of(others: list[dict[str, Any]], named: int | None) -> dict[str, Any]:
    """The version's entry in its model: the named one, else the first that has a file.

    Empty when there is none, and the version's own answer has to do.
    """
    if named is not None:
        for other in others:
            if as_id(other.get("id")) == named:
                return other
        return {}
    if not others:
        raise NotDownloadable("This model has no published version.")
    return next((other for other in others if as_list(other.get("files"))), others[0])


def _check_belongs(
    version: dict[str, Any], reference: CivitaiReference, others: list[dict[str, Any]]
) -> None:
    """The version that was named must be one of the model that was named."""
    if reference.version_id is None:
        return
    owner = as_id(version.get("modelId"))
    is_listed = any(as_id(other.get("id")) == reference.version_id for other in others)
    is_strange = bool(version) and reference.model_id not in {None, owner} and owner is not None
    if is_listed or (version and not is_strange):
        return
    known = [_named(other) for other in others]
    raise NotFound(
        f"The model has no version {reference.version_id}. "
        + (f"It has: {', '.join(known[:10])}." if known else "It has no published version."),
        versions=[as_id(other.get("id")) for other in others][:50],
    )


def _named(version: dict[str, Any]) -> str:
    return f"{as_id(version.get('id'))} ({as_text(version.get('name'), 60) or 'no name'})"


def _with_access(resolution: Resolution, calls: Calls) -> Resolution:
    """What the download route says of this caller: the API does not tell it before.

    Asked are those without a token, for whom a login may be needed, and in early access those with
    one, who may have bought it. Only a clear word counts; any other trouble is the download's.
    """
    is_early = resolution.early_access
    if calls.has_token != is_early or (resolution.needs_token and not is_early):
        return resolution
    url = resolution.file(resolution.chosen[0]).url
    try:
        _touch(url, calls)
    except TokenRequired as error:
        return replace(resolution, needs_token=error.message)
    except EarlyAccess as error:
        return replace(
            resolution,
            needs_token=error.message,
            early_access=True,
            early_access_until=error.until or resolution.early_access_until,
        )
    except NotDownloadable:
        if is_early:
            return resolution  # an account without a grant, today
        raise
    except (SourceError, TransferError):
        return resolution
    return replace(resolution, early_access=False, early_access_until=None)


def _touch(url: str, calls: Calls) -> None:
    """Ask for one byte. Raises what the answer means."""
    try:
        with calls.open(url, {"Range": "bytes=0-0"}) as answer:
            if answer.hops and "reason=download-auth" in answer.url:
                raise TokenRequired("The creator asks for a login.")
    except TransferError as error:
        raise explain(error, CIVITAI, had_token=calls.has_token) from error


def reachable_url(file: SourceFile, listed: tuple[Listed, ...], calls: Calls) -> str:
    """The file's link, or the one without its id when CivitAI does not know the id.

    A VAE of a linked version is listed under an id that belongs to another version; there
    `fileId` is a 404 and `type=VAE` works. When both fail the first is as good as the second.
    """
    plain = next((one.plain_url for one in listed if one.file.file_id == file.file_id), file.url)
    if plain == file.url or not _is_gone(file.url, calls) or _is_gone(plain, calls):
        return file.url
    return plain


def _is_gone(url: str, calls: Calls) -> bool:
    try:
        with calls.open(url, {"Range": "bytes=0-0"}):
            return False
    except RemoteGone as error:
        return error.status == 404
    except (TransferError, SourceUnavailable):
        return False


def locate(reference: CivitaiReference, file_id: str, *, calls: Calls, endpoint: str) -> SourceFile:
    """The file as it is offered at this moment, with a link that answers. Raises NotFound too."""
    answers = _ask(replace(reference, file_id=None), calls, endpoint)
    refuse_what_cannot_come(answers)
    _, listed = listed_files(answers, endpoint)
    for one in listed:
        if one.file.file_id == file_id:
            return replace(one.file, url=reachable_url(one.file, listed, calls))
    raise NotFound("CivitAI no longer lists this file; the version may have been replaced.")

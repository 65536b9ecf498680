"""The downloads page. Every form also works without a script: it posts and comes back here."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.cache import cache
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event
from redis.exceptions import RedisError

from config.errors import ModelyardError
from config.pages import PageRequest, page, page_for, say
from downloads import services
from downloads.board import Look, board_of
from downloads.cards import Card, Edits, card_of, card_of_error, with_token_error
from downloads.errors import IllegalTransition, InvalidOption
from downloads.limit_words import limit_in_words
from downloads.limits import is_exempt
from downloads.models import Download
from downloads.states import FINAL
from downloads.states import DownloadStatus as S
from registry.previews import fetch_thumbnail
from registry.words import TYPE_NAMES
from sources.parse import parse_reference
from tokens import clients
from tokens import services as token_services
from tokens.models import Service

REQUEST_CONTENT = "downloads.request_content"
#: A page without a script waits for all of its links; with one, each is asked for alone.
MOST_LINKS_AT_ONCE = 5
MOST_DISMISSED = 300
PICTURE_AGE_S = 24 * 3600
MISSING_AGE_S = 300
EDITABLE = ("model_name", "model_type", "base_model")

Command = Callable[[PageRequest, Download], None]


# --- The page and its moving part -----------------------------------------------------------------


@require_safe
@page
def downloads_page(request: PageRequest) -> HttpResponse:
    return _page(request, link=request.GET.get("link", "")[:2048])


@require_safe
@page
def queue(request: PageRequest) -> HttpResponse:
    return _queue(request, since=_moment(request.GET.get("since", "")))


def _page(request: PageRequest, *, link: str = "", cards: Iterable[Card] = ()) -> HttpResponse:
    context = {"link": link, "cards": list(cards), "section": "downloads"}
    return render(request, "downloads/page.html", context | _queue_context(request))


def _queue(
    request: PageRequest, *, since: datetime | None = None, notice: str = ""
) -> HttpResponse:
    context = _queue_context(request, since=since, notice=notice)
    return render(request, "downloads/queue.html", context)


def _queue_context(
    request: PageRequest, *, since: datetime | None = None, notice: str = ""
) -> dict[str, Any]:
    asked = request.POST if request.method == "POST" else request.GET
    look = Look(
        unfolded=_numbers(asked.getlist("open")),
        whole=asked.get("show", ""),
        dismissed=request.session.get("dismissed", []),
        since=since,
    )
    return {
        "queue": board_of(request.user, look, notice=notice),
        "unfolded": sorted(look.unfolded),
        "may_request": request.user.has_perm(REQUEST_CONTENT),
        "type_choices": TYPE_NAMES.items(),
    }


# --- From a link to a row -------------------------------------------------------------------------


@require_POST
@page_for(REQUEST_CONTENT)
def resolve(request: PageRequest) -> HttpResponse:
    """The preview of every link in the box."""
    links = list(dict.fromkeys(_lines(request.POST.get("url", ""))))[:MOST_LINKS_AT_ONCE]
    cards = [_look_up(request, link) for link in links]
    if request.htmx:
        return render(request, "downloads/cards.html", _card_context(cards))
    return _page(request, link=request.POST.get("url", ""), cards=cards)


@require_POST
@page_for(REQUEST_CONTENT)
def add(request: PageRequest) -> HttpResponse:
    """Start what a card shows."""
    form = request.POST
    url = form.get("url", "").strip()
    try:
        download = services.enqueue(
            user=request.user,
            url=url,
            on_duplicate=form.get("on_duplicate") or "link",
            review="review" in form,
            **_options(form),
        )
    except ModelyardError as error:
        card = _look_up(request, url, error=error)
        if request.htmx:
            status = error.http_status if error.http_status < 500 else 200
            context = _card_context([card])
            return render(request, "downloads/cards.html", context, status=status)
        return _page(request, cards=[card])
    if request.htmx:
        return trigger_client_event(HttpResponse(), "queue-changed", {"name": download.model_name})
    say(request, f"{download.model_name} is on its way.")
    return redirect("downloads:page")


@require_POST
@page_for(REQUEST_CONTENT)
def token_for_link(request: PageRequest) -> HttpResponse:
    """Keep a token that a link needs, then look again."""
    url = request.POST.get("url", "").strip()
    service = request.POST.get("service", "")
    failure: ModelyardError | None = None
    try:
        token_services.save_token(
            user=request.user, service_name=service, token=request.POST.get("token", "")
        )
    except ModelyardError as error:
        failure = error
    card = _look_up(request, url)
    if failure is not None:
        card = with_token_error(card, failure, service if service in Service.values else "")
    if request.htmx:
        return render(request, "downloads/cards.html", _card_context([card]))
    return _page(request, cards=[card])


def _look_up(request: PageRequest, url: str, *, error: ModelyardError | None = None) -> Card:
    """The card of a link; a refused edit stands beside its field, and the link is shown without."""
    form = request.POST
    options = {} if isinstance(error, InvalidOption) else _options(form)
    try:
        resolved = services.resolve_reference(user=request.user, url=url, **options)
    except InvalidOption as refused:
        return _look_up(request, url, error=refused)
    except ModelyardError as failure:
        return card_of_error(failure, url=url, reference=_reference(url))
    return card_of(
        resolved,
        url=url,
        edits=_edits(form),
        now=timezone.now(),
        error=error,
        said={name: form.get(f"was_{name}", "") for name in EDITABLE if name in options},
    )


def _reference(url: str) -> Any:
    try:
        return parse_reference(url, clients.endpoints())
    except ModelyardError:
        return None


def _options(form: QueryDict) -> dict[str, Any]:
    """What the form says differently from the source; the rest is left to the source."""
    options: dict[str, Any] = {"folder": form.get("folder", "")}
    for name in EDITABLE:
        value = form.get(name)
        if value is not None and value.strip() != form.get(f"was_{name}", "").strip():
            options[name] = value
    if form.getlist("files"):
        options["files"] = form.getlist("files")
    return options


def _edits(form: QueryDict) -> Edits:
    return Edits(folder=form.get("folder", ""), review="review" in form)


def _card_context(cards: list[Card]) -> dict[str, Any]:
    return {"cards": cards, "type_choices": TYPE_NAMES.items()}


# --- Commands -------------------------------------------------------------------------------------


def _now(request: PageRequest, download: Download) -> None:
    """Do not wait for the due time."""
    services.pause(download=download, user=request.user)
    services.resume(download=download, user=request.user)


def _dismiss(request: PageRequest, download: Download) -> None:
    if download.status not in FINAL:
        raise IllegalTransition(
            f"Only a finished download leaves the list; this one is {download.status}.",
            status=str(download.status),
        )
    known = [pk for pk in request.session.get("dismissed", []) if pk != download.pk]
    request.session["dismissed"] = [*known, download.pk][-MOST_DISMISSED:]


COMMANDS: dict[str, Command] = {
    "pause": lambda request, row: _ignore(services.pause(download=row, user=request.user)),
    "resume": lambda request, row: _ignore(services.resume(download=row, user=request.user)),
    "cancel": lambda request, row: _ignore(services.cancel(download=row, user=request.user)),
    "retry": lambda request, row: _ignore(services.retry(download=row, user=request.user)),
    "verify": lambda request, row: _ignore(services.reverify(download=row, user=request.user)),
    "first": lambda request, row: _ignore(
        services.reorder(download=row, user=request.user, position=0)
    ),
    "now": _now,
    "dismiss": _dismiss,
}
BULK = frozenset({"pause", "resume", "cancel", "retry"})


def _ignore(_download: Download) -> None:
    """Commands give the row back; the page reads the queue again anyway."""


@require_POST
@page_for(REQUEST_CONTENT)
def act(request: PageRequest, pk: int, action: str) -> HttpResponse:
    if action not in COMMANDS:
        raise Http404
    download = _own(request, pk)
    try:
        COMMANDS[action](request, download)
    except ModelyardError as error:
        return _answer(request, error.message, error)
    return _answer(request)


@require_POST
@page_for(REQUEST_CONTENT)
def act_selected(request: PageRequest, action: str) -> HttpResponse:
    """One command to every selected row; rows that it does not fit stay as they are."""
    rows = Download.objects.commanded_by(request.user).filter(
        pk__in=_numbers(request.POST.getlist("ids"))
    )
    return _act_on(request, action, rows)


@require_POST
@page_for(REQUEST_CONTENT)
def act_all(request: PageRequest, action: str) -> HttpResponse:
    """Pause or resume everything that this person may command."""
    if action not in {"pause", "resume"}:
        raise Http404
    statuses = [S.QUEUED, S.DOWNLOADING] if action == "pause" else [S.PAUSED]
    rows = Download.objects.commanded_by(request.user).top_level().filter(status__in=statuses)
    return _act_on(request, action, rows)


def _act_on(request: PageRequest, action: str, rows: Iterable[Download]) -> HttpResponse:
    if action not in BULK:
        raise Http404
    refused = 0
    for download in rows:
        try:
            COMMANDS[action](request, download)
        except IllegalTransition:
            refused += 1
    if refused:
        return _answer(request, f"{refused} of the selected could not: {action} does not fit them.")
    return _answer(request)


@require_POST
@page_for(REQUEST_CONTENT)
def finalize(request: PageRequest, pk: int) -> HttpResponse:
    form = request.POST
    try:
        services.finalize(
            download=_own(request, pk),
            user=request.user,
            model_name=form.get("model_name"),
            model_type=form.get("model_type"),
            base_model=form.get("base_model"),
            folder=form.get("folder"),
        )
    except ModelyardError as error:
        return _answer(request, error.message, error)
    return _answer(request)


@require_POST
@page_for(REQUEST_CONTENT)
def token_for_row(request: PageRequest, pk: int) -> HttpResponse:
    """Keep the token that a failed download lacked, and try it again."""
    download = _own(request, pk)
    try:
        token_services.save_token(
            user=request.user,
            service_name=download.source_type,
            token=request.POST.get("token", ""),
        )
        services.retry(download=download, user=request.user)
    except ModelyardError as error:
        return _answer(request, error.message, error)
    return _answer(request)


@require_safe
@page
def picture(request: PageRequest, pk: int) -> HttpResponse:
    """The first picture of a download's source, shrunk by us; 404 when there is none to be had."""
    seen = get_object_or_404(Download.objects.of_user(request.user), pk=pk)
    previews = seen.source_metadata.get("previews") or []
    url = next((str(item.get("url", "")) for item in previews if item.get("kind") == "image"), "")
    if not url:
        raise Http404
    response = HttpResponse(_thumbnail(url), content_type="image/webp")
    response["Cache-Control"] = f"private, max-age={PICTURE_AGE_S}"
    return response


def _thumbnail(url: str) -> bytes:
    """The picture from the cache, which holds text only, or fetched; a miss is kept for a while."""
    key = f"thumbnail:{hashlib.sha256(url.encode()).hexdigest()}"
    try:
        known = cache.get(key)
    except RedisError:
        known = None
    if known is None:
        body = _fetched(url)
        known = base64.b64encode(body).decode()
        with suppress(RedisError):
            cache.set(key, known, PICTURE_AGE_S if body else MISSING_AGE_S)
    if not known:
        raise Http404
    return base64.b64decode(known)


def _fetched(url: str) -> bytes:
    try:
        return fetch_thumbnail(url)
    except ModelyardError:
        return b""


@require_safe
@page
def limits(request: PageRequest) -> HttpResponse:
    """What this person may ask for, and how much of it is used."""
    context = {
        "section": "settings",
        "tab": "limits",
        "is_exempt": is_exempt(request.user),
        "limits": [limit_in_words(use) for use in services.limits_of(request.user)],
    }
    return render(request, "downloads/limits.html", context)


# --- Small helpers --------------------------------------------------------------------------------


def _answer(
    request: PageRequest, problem: str = "", error: ModelyardError | None = None
) -> HttpResponse:
    if request.htmx:
        response = _queue(request, notice=problem)
        if error is not None and error.http_status < 500:
            response.status_code = error.http_status
        return response
    if problem:
        messages.error(request, problem)
    return redirect("downloads:page")


def _own(request: PageRequest, pk: int) -> Download:
    """The row, for a command to it."""
    return get_object_or_404(Download.objects.commanded_by(request.user), pk=pk)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _numbers(texts: Iterable[str]) -> set[int]:
    return {int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) < 19}


def _moment(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment if moment is not None and timezone.is_aware(moment) else None

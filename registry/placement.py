"""Where a file goes: type and base model → directory. Pure: values in, values out.

A rule's directory is written `/models/loras/sdxl/`; the leading `/models/` is the models directory
itself, so `loras/sdxl` means the same. Of the active rules of the type that match, the highest
priority wins; then the rule for the exact base model, then the one for its family, then the one
for any base model; then the older rule. Nothing here can lead out of the models directory.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from registry.errors import PlacementNotPossible
from transfer.names import safe_name

VIRTUAL_ROOT = "/models/"
MAX_DIRECTORY_CHARS = 500
#: Our own files in a root: marker, partials, quarantine, trash.
RESERVED_DIRECTORY = ".modelyard"
_UNWANTED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


class Match(IntEnum):
    """How well a rule fits; the higher the more specific."""

    NONE = 0
    ANY = 1
    FAMILY = 2
    EXACT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A placement rule as a value; `base_model` "" means any."""

    rule_id: int
    model_type: str
    base_model: str
    target_directory: str
    priority: int = 0
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A rule of the wanted type, and what became of it."""

    rule: Rule
    match: Match
    won: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`directory` is relative to the models directory, "" for that directory itself."""

    directory: str
    rule: Rule | None
    reason: str
    candidates: tuple[Candidate, ...] = ()


def virtual_path(relative_path: str) -> str:
    """`loras/x.safetensors` → `/models/loras/x.safetensors`: what people see."""
    return VIRTUAL_ROOT + relative_path.lstrip("/")


def clean_directory(text: str, *, field: str = "target_directory") -> str:
    """The directory relative to the models directory, "" for that directory itself.

    Raises PlacementNotPossible, which names the bad part: a path that leads outside, backslashes,
    control characters, placeholders, hidden folders, names that some system cannot hold.
    """
    text = unicodedata.normalize("NFC", text.strip(" "))
    if not text:
        raise _refused(field, text, "it is empty; write for example /models/loras/")
    if len(text) > MAX_DIRECTORY_CHARS:
        raise _refused(field, text, f"it is longer than {MAX_DIRECTORY_CHARS} characters")
    if any(unicodedata.category(char) in _UNWANTED_CATEGORIES for char in text):
        raise _refused(field, text, "it holds a control or invisible character")
    for char, why in (("\\", "use / between folders"), ("{", "placeholders are not known")):
        if char in text:
            raise _refused(field, text, f"it holds {char!r}: {why}")
    if text.startswith("/"):
        if text.rstrip("/") == VIRTUAL_ROOT.rstrip("/"):
            return ""
        if not text.startswith(VIRTUAL_ROOT):
            raise _refused(field, text, f"it must begin with {VIRTUAL_ROOT} or with a folder name")
        text = text.removeprefix(VIRTUAL_ROOT)
    parts = [part for part in text.split("/") if part]
    for part in parts:
        _check_component(part, field, text)
    return "/".join(parts)


def clean_target(text: str) -> str:
    """A rule's directory as it is stored: `/models/loras/sdxl/`. Raises PlacementNotPossible."""
    directory = clean_directory(text)
    return virtual_path(f"{directory}/" if directory else "")


def choose(
    rules: Iterable[Rule], *, model_type: str, base_model: str = "", family: str = ""
) -> Choice:
    """The directory of the rule that wins, with every rule of that type and why it did or did not.

    Without a matching rule the directory is the type's own name.
    """
    of_type = [rule for rule in rules if rule.model_type == model_type]
    ranked = sorted(
        ((_match(rule, base_model, family), rule) for rule in of_type),
        key=lambda pair: (
            not pair[1].is_active,
            pair[0] is Match.NONE,
            -pair[1].priority,
            -pair[0],
            pair[1].rule_id,
        ),
    )
    winner = next(((m, r) for m, r in ranked if r.is_active and m is not Match.NONE), None)
    if winner is None:
        directory = clean_directory(model_type, field="model_type")
        reason = f"No active rule for {model_type} matches, so its own folder is used."
    else:
        directory = clean_directory(winner[1].target_directory)
        reason = _why_won(*winner, family)
    candidates = tuple(
        Candidate(
            rule=rule,
            match=match,
            won=winner is not None and rule is winner[1],
            reason=reason if winner and rule is winner[1] else _why_lost(match, rule, winner),
        )
        for match, rule in ranked
    )
    return Choice(
        directory=directory,
        rule=winner[1] if winner else None,
        reason=reason,
        candidates=candidates,
    )


def _check_component(part: str, field: str, text: str) -> None:
    if part in {".", ".."}:
        raise _refused(field, text, f"{part!r} is not a folder name")
    if part.startswith((".", "~")):
        raise _refused(field, text, f"the folder {part!r} would be hidden or a home directory")
    if safe_name(part) != part:
        raise _refused(field, text, f"{part!r} is a name that not every system can hold")


def _refused(field: str, text: str, why: str) -> PlacementNotPossible:
    shown = "".join(char if char.isprintable() else "�" for char in text[:200])
    return PlacementNotPossible(
        f"The folder {shown!r} cannot be used: {why}.", field=field, value=shown, reason=why
    )


def _match(rule: Rule, base_model: str, family: str) -> Match:
    wanted = _folded(rule.base_model)
    if not wanted:
        return Match.ANY
    if wanted == _folded(base_model):
        return Match.EXACT
    if wanted == _folded(family):
        return Match.FAMILY
    return Match.NONE


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _why_won(match: Match, rule: Rule, family: str) -> str:
    what = {
        Match.EXACT: f"base model {rule.base_model}",
        Match.FAMILY: f"base model family {family}",
        Match.ANY: "any base model",
    }[match]
    return f"Rule {rule.rule_id}: {rule.model_type}, {what} (priority {rule.priority})."


def _why_lost(match: Match, rule: Rule, winner: tuple[Match, Rule] | None) -> str:
    if not rule.is_active:
        return "Switched off."
    if match is Match.NONE or winner is None:
        return f"Only for base model {rule.base_model}."
    best_match, best = winner
    if rule.priority < best.priority:
        return f"Priority {rule.priority} is lower than {best.priority}."
    if match < best_match:
        return "Less specific at the same priority."
    return f"Rule {best.rule_id} is older."

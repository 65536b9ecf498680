"""Numbers and moments in the words that pages and the terminal use. No Django, no database."""

from __future__ import annotations

from datetime import datetime, timedelta

_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def bytes_in_words(count: int | None) -> str:
    """Decimal units, as the sources count: 6_800_000_000 → "6.8 GB"; None → "size unknown"."""
    if count is None:
        return "size unknown"
    unit = _unit_of(count)
    return f"{_scaled(count, unit)} {_UNITS[unit]}" if count != 1 else "1 byte"


def share_in_words(done: int, total: int | None) -> str:
    """As "3.2 of 6.8 GB"; units differ only where one of them would read as nothing."""
    if total is None:
        return bytes_in_words(done)
    unit = _unit_of(total)
    if done >= 1000**unit / 10 or done == 0:
        return f"{_scaled(done, unit)} of {bytes_in_words(total)}"
    return f"{bytes_in_words(done)} of {bytes_in_words(total)}"


def speed_in_words(bytes_per_second: int | None) -> str:
    return f"{bytes_in_words(bytes_per_second)}/s" if bytes_per_second is not None else ""


def duration_in_words(seconds: float) -> str:
    """Coarse on purpose: what follows the first unit only matters while it is small."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes} min {rest} s" if minutes < 5 and rest else f"{minutes} min"
    if whole < _DAY:
        hours, rest = divmod(whole // _MINUTE, 60)
        return f"{hours} h {rest} min" if rest and hours < 10 else f"{hours} h"
    days = whole // _DAY
    return "1 day" if days == 1 else f"{days} days"


def moment_in_words(moment: datetime, now: datetime) -> str:
    """When something is, both moments in the reader's zone: "today 14:00", "12 March 14:00"."""
    clock = f"{moment:%H:%M}"
    days = (moment.date() - now.date()).days
    if days == 0:
        return f"today {clock}"
    if days == 1:
        return f"tomorrow {clock}"
    if days == -1:
        return f"yesterday {clock}"
    if 1 < days < 7:
        return f"{moment:%A} {clock}"
    year = "" if moment.year == now.year else f" {moment.year}"
    return f"{moment.day} {moment:%B}{year} {clock}"


def ago_in_words(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "never"
    past = now - moment
    if past < timedelta(seconds=10):
        return "just now"
    seconds = past.total_seconds()
    for unit in (_DAY, _HOUR, _MINUTE):
        if seconds >= unit:
            seconds -= seconds % unit
            break
    return f"{duration_in_words(seconds)} ago"


def _unit_of(count: int) -> int:
    unit = 0
    while unit < len(_UNITS) - 1 and count >= 1000 ** (unit + 1):
        unit += 1
    return unit


def _scaled(count: int, unit: int) -> str:
    value = count / 1000**unit
    # Tenths matter for gigabytes and for single megabytes, else they only flicker.
    tenths = unit >= 3 and value < 100
    return f"{value:.1f}" if tenths or (unit and value < 10) else f"{value:.0f}"

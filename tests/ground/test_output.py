"""Log lines on their way to the terminal and to the files."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest

from config.up import output
from config.up.output import Output, relayed, shorten


def entry(**fields):
    return json.dumps(
        {"event": "It happened", "level": "info", "logger": "downloads.pipeline", **fields}
    )


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (entry(), "It happened"),
        (entry(logger="celery.worker"), ""),
        (entry(logger="celery.worker", level="warning"), "warning: It happened"),
        (
            entry(level="error", exception="Traceback\n  …\nValueError: no"),
            "error: It happened (ValueError: no)",
        ),
        (entry(event="two\nlines \x1b[31mred"), "two lines  [31mred"),
        (entry(logger="django.request", level="warning"), ""),
        (entry(logger="django.request", level="error"), "error: It happened"),
        (entry(logger="django_structlog.middlewares.request", level="error"), ""),
        ("not json", ""),
        ('{"broken', ""),
        ("[1, 2]", ""),
    ],
)
def test_the_terminal_gets_the_short_form(line, shown):
    assert shorten(line) == shown


def test_the_file_keeps_whole_lines_without_secrets(tmp_path):
    terminal = io.StringIO()
    out = Output(tmp_path / "logs", terminal=terminal)
    out.line("web", entry(event="GET https://x.example/?token=hunter2") + "\n")
    out.close()
    kept = (tmp_path / "logs" / "web.log").read_text()
    assert json.loads(kept)["logger"] == "downloads.pipeline"
    assert "hunter2" not in kept + terminal.getvalue()
    assert "web" in terminal.getvalue()


def test_files_are_rotated(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "MAX_FILE_BYTES", 1000)
    out = Output(tmp_path, terminal=io.StringIO())
    for _ in range(100):
        out.line("web", "x" * 90)
    out.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "web.log",
        "web.log.1",
        "web.log.2",
        "web.log.3",
    ]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())


def test_a_terminal_that_went_away_is_no_error(tmp_path):
    terminal = io.StringIO()
    terminal.close()
    out = Output(tmp_path, terminal=terminal)
    out.line("web", entry())
    out.close()
    assert (tmp_path / "web.log").exists()


def test_a_process_is_followed_to_its_end(tmp_path):
    out = Output(tmp_path, terminal=io.StringIO())
    process = subprocess.Popen(
        [sys.executable, "-c", r"print('a'); print('b\xff')"], stdout=subprocess.PIPE
    )
    out.follow("child", process.stdout).join(10)
    process.wait()
    assert out.tail("child") == ["a", "bÿ"]
    out.close()


def test_our_own_records_go_the_same_way(tmp_path):
    terminal = io.StringIO()
    out = Output(tmp_path, terminal=terminal)
    with relayed(out):
        logging.getLogger("config.up").warning("the broker ended")
    out.close()
    assert "up               " in terminal.getvalue()
    assert "the broker ended" in terminal.getvalue()

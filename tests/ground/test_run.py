"""The runner behind `make test`: two sessions of pytest, one summary, one exit code."""

from __future__ import annotations

import os
import textwrap

import pytest

from tests import run

SUITE = """
    import os

    def test_database():
        assert os.environ["MODELYARD_TEST_DATABASE"] == {database!r}

    def test_more():
        with open(os.environ["MODELYARD_TEST_REPORT"], "a") as report:
            report.write("the moon\\n")
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A suite of two tests, run by the real pytest without ours."""
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "PARALLEL", ("-p", "no:cacheprovider", "-p", "no:django"))
    monkeypatch.setattr(run, "install_chromium", lambda: None)
    monkeypatch.setenv("PYTEST_ADDOPTS", "")

    def write(database="postgresql"):
        (tmp_path / "test_it.py").write_text(textwrap.dedent(SUITE.format(database=database)))

    write()
    return write


def test_one_failure_on_one_database_fails_the_whole(suite, capfd):
    assert run.main([]) == 1  # `test_database` holds on PostgreSQL only
    summary = capfd.readouterr().out.rsplit("=" * 78, 1)[1].splitlines()
    assert "2 passed    0 failed" in summary[1]
    assert summary[1].endswith("ok")
    assert summary[2].endswith("exit code 5")
    assert summary[3:] == ["NOT EXERCISED: the moon", "FAILED"]


def test_a_chosen_part_may_have_nothing_for_sqlite(suite, capfd):
    assert run.main(["-k", "more"]) == 0
    assert capfd.readouterr().out.rstrip().endswith("Everything that ran passed.")


def test_counts_of_a_session_that_died_are_zero(tmp_path):
    assert run.read_counts(tmp_path / "missing.xml") == {"tests": 0, "failures": 0, "errors": 0}


def test_a_failing_test_is_counted(suite, tmp_path, capfd):
    suite(database="another")
    report = tmp_path / "report"
    report.touch()
    outcome = run.run("here", "postgresql", [*run.PARALLEL], report, chosen=False)
    assert outcome.exit_code == 1
    assert outcome.counts == {"tests": 2, "failures": 1, "errors": 0}
    assert "1 passed    1 failed" in outcome.line()


@pytest.mark.parametrize(
    ("user", "found", "expected"), [(0, None, 2), (0, "/usr/bin/chromium", 0), (1000, None, 0)]
)
def test_chromium_is_installed_by_root_when_it_is_missing(user, found, expected, monkeypatch):
    calls = []
    monkeypatch.setattr(run.needs, "find_chromium", lambda: found)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(run.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(run.subprocess, "run", lambda command, **_: calls.append(command))
    run.install_chromium()
    assert len(calls) == expected
    assert all(command[0] == "apt-get" for command in calls)

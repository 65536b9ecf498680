"""Shared set-up: no connection leaves this machine, nothing is passed over in silence."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests import needs, servers

pytest_plugins = ["tests.origin.fixtures", "tests.canary_hooks", "tests.grouping", "tests.seeds"]

_real_connect = socket.socket.connect


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a unix socket
    try:
        return ipaddress.ip_address(str(address[0]).split("%")[0]).is_loopback
    except ValueError:
        return str(address[0]) == "localhost"


def _guarded_connect(self: socket.socket, address: Any) -> None:
    if not _is_local(address):
        raise AssertionError(f"A test tried to reach {address!r}; only loopback is allowed.")
    _real_connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _only_loopback() -> Iterator[None]:
    socket.socket.connect = _guarded_connect  # type: ignore[method-assign,assignment]
    yield
    socket.socket.connect = _real_connect  # type: ignore[method-assign]


# --- The run as a whole: which servers, what was left out, nothing left behind --------------------
LEFT_OUT: pytest.StashKey[set[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Half a character in what a test logged would end the process that runs it."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


def pytest_report_header() -> str:
    return f"servers: {os.environ.get(servers.CHOSEN, 'none')}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for need in needs.absent():
        without = [item for item in items if item.get_closest_marker(need.marker)]
        if without:
            config.stash[LEFT_OUT].add(needs.left_out(need, len(without)))
            config.hook.pytest_deselected(items=without)
            items[:] = [item for item in items if item not in without]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist hands its list over; the first process turns it into a failure in CI."""
    left_out = session.config.stash[LEFT_OUT]
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = sorted(left_out)
    elif left_out and needs.is_ci() and session.exitstatus in {pytest.ExitCode.OK, 5}:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT].update(getattr(node, "workeroutput", {}).get("left_out", []))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in sorted(config.stash[LEFT_OUT]):
        terminalreporter.write_line(f"NOT EXERCISED: {line}", yellow=True)
    report = os.environ.get("MODELYARD_TEST_REPORT")
    if report:
        with open(report, "a", encoding="utf-8") as file:  # noqa: PTH123
            file.writelines(f"{line}\n" for line in sorted(config.stash[LEFT_OUT]))


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and not config.getoption("reuse_db", default=False):
        servers.clean_up(os.environ["MODELYARD_TEST_RUN"])

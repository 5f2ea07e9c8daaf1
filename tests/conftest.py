"""What all tests share: a directory of their own to work in; and in CI nothing may be skipped."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trial's ``mktemp`` makes its directories where the test runs: not in the checkout."""
    monkeypatch.chdir(tmp_path)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that skipped something where ``BALANCER_NO_SKIPS`` is set: CI installs what a test needs."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("BALANCER_NO_SKIPS") and skipped and exitstatus == 0:
        for report in skipped:
            print(f"\nskipped, which BALANCER_NO_SKIPS forbids: {report.nodeid}: {report.longrepr}")
        session.exitstatus = 1

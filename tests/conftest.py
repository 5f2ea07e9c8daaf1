"""What all tests share: in CI nothing may be skipped, because CI installs what a test needs."""

import os

import pytest


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that skipped something where ``BALANCER_NO_SKIPS`` is set."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("BALANCER_NO_SKIPS") and skipped and exitstatus == 0:
        for report in skipped:
            print(f"\nskipped, which BALANCER_NO_SKIPS forbids: {report.nodeid}: {report.longrepr}")
        session.exitstatus = 1

# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every test: how they are spread over processes, and how a run tells what it skipped."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

TOGETHER = ("package",)
"""Folders below tests/ whose files share what takes minutes to make, so that one process runs them all."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process: they share what its fixtures have made."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group(folder if folder in TOGETHER else str(item.path)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """End with how many tests were skipped for each reason."""
    reasons = Counter(read_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if reasons:
        terminalreporter.section(f"{sum(reasons.values())} skipped, by reason")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:5}  {reason}")


def read_reason(report: Any) -> str:
    """Why a test was skipped. `longrepr` is pytest's (file, line, "Skipped: why")."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")

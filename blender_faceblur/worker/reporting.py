# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a worker process reports its progress."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReportingSettings:
    """How often a worker process reports."""

    progress_every_s: float = 0.3
    """Seconds between two progress messages. Raising it makes progress bars jump and sends fewer messages. Origin not
    recorded."""


REPORTING = ReportingSettings()

# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends with a project: the work on it, and what was checked and verified."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from . import jobs


def register_handlers() -> None:
    bpy.app.handlers.load_pre.append(_stop_before_load)


def unregister_handlers() -> None:
    bpy.app.handlers.load_pre.remove(_stop_before_load)


@persistent
def _stop_before_load(*_: object) -> None:
    """What was detected, checked and verified belongs to the project that is about to be closed."""
    jobs.stop()
    jobs.JOB.faults, jobs.JOB.verified = [], None

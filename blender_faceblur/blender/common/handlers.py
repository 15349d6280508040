# SPDX-License-Identifier: GPL-3.0-or-later
"""End running jobs, and clear the results of checks, before another project is opened."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from . import jobs


def register_handlers() -> None:
    bpy.app.handlers.load_pre.append(_stop_before_load)
    bpy.app.handlers.load_post.append(_forget_results)


def unregister_handlers() -> None:
    bpy.app.handlers.load_pre.remove(_stop_before_load)
    bpy.app.handlers.load_post.remove(_forget_results)


@persistent
def _stop_before_load(*_: object) -> None:
    """Jobs and results belong to the project that is about to be closed."""
    jobs.stop()
    jobs.JOB.forget_results()


@persistent
def _forget_results(*_: object) -> None:
    """Also what was told while the other project was being opened, for instance about the end of a render."""
    jobs.JOB.forget_results()

# SPDX-License-Identifier: GPL-3.0-or-later
"""The review, in which an editor goes through the review items one by one."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register the classes, handlers and drawing of this room."""
    from . import panels, question, queue, session, status, watched

    for item in _list_classes():
        bpy.utils.register_class(item)
    queue.register_handlers()
    session.register_handlers()
    watched.register_handlers()
    panels.add_mark()
    question.add_question()
    status.add_status()


def unregister() -> None:
    from . import panels, question, queue, session, status, watched

    status.remove_status()
    question.remove_question()
    panels.remove_mark()
    watched.unregister_handlers()
    session.unregister_handlers()
    queue.unregister_handlers()
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import menus, operators, panels, player

    return (*operators.CLASSES, player.FACEBLUR_OT_review, panels.FACEBLUR_PT_review, menus.FACEBLUR_MT_review)

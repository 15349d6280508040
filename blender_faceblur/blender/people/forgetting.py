# SPDX-License-Identifier: GPL-3.0-or-later
"""Forget what faces look like, in memory and in the user's folder, and who is who."""

from __future__ import annotations

import bpy

from ...core.people.embeddings_file import forget_embeddings
from ...files.paths import stored_embeddings
from .memory import MEMORY
from .person_list import ALL


def forget_everything(scene: bpy.types.Scene | None) -> int:
    """Forget as `forget` does, and in the user's folder for all projects. Raises FaceBlurError if anything stays."""
    count = forget(scene)
    forget_embeddings(stored_embeddings())
    return count


def forget(scene: bpy.types.Scene | None = None) -> int:
    """Let go of everything in memory that says what faces look like, and of a scene's list; how many vectors it was."""
    count = sum(map(len, MEMORY.crops.values())) + len(MEMORY.references)
    MEMORY.clear()
    if scene is not None:
        people = scene.faceblur.people
        people.persons.clear()
        people.faces.clear()
        people.active_person = people.active_face = 0
        people.mode = ALL
    return count

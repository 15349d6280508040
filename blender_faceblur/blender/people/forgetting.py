# SPDX-License-Identifier: GPL-3.0-or-later
"""Forget people and face embeddings, in memory and in the user's folder."""

from __future__ import annotations

import bpy

from ...core.people.embeddings_file import forget_embeddings
from ...files.paths import get_stored_embeddings_folder
from .memory import MEMORY
from .person_list import ALL


def forget_everything(scene: bpy.types.Scene | None) -> int:
    """Do what `forget` does, and delete the user's folder of embeddings, which is shared by all projects.

    Returns the number of embeddings that were in memory. Raises FaceBlurError if a file cannot be deleted.
    """
    count = forget(scene)
    forget_embeddings(get_stored_embeddings_folder())
    return count


def forget(scene: bpy.types.Scene | None = None) -> int:
    """Delete all face embeddings in memory, and the people and faces of a scene; returns the number of embeddings."""
    count = sum(map(len, MEMORY.crops.values())) + len(MEMORY.references)
    MEMORY.clear()
    if scene is not None:
        people = scene.faceblur.people
        people.persons.clear()
        people.faces.clear()
        people.active_person = people.active_face = 0
        people.mode = ALL
    return count

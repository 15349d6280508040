# SPDX-License-Identifier: GPL-3.0-or-later
"""Go through the doubtful places of a scene's strips, and say of each what it is."""

from __future__ import annotations

from typing import Any

import bpy

from ...core.document import editing
from ...core.review.queue import ReviewEntry, is_fixed, list_review_entries, record_verdict
from ...core.types import FaceBlurError, TrackDocument, Verdict
from ...reporting.progress import count
from ...reporting.wording import describe_place
from ..common.context import get_sequencer_scene, refresh_shown_sequencers
from ..common.selection import get_active_footage, is_busy, refuse
from ..cover.strips import get_mask
from ..masks.changes import change_tracks, check_freehand
from ..masks.mask import get_layer_name
from ..preferences.properties import get_reviewer
from .queue import PACE, count_left, find_next, find_previous, get_current, go_to, keep_verdict, read_queue


class _ReviewOperator:
    """An operator of the review of the active strip."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        operator: Any = cls
        if is_busy(operator):
            return False
        mask = get_mask(get_active_footage(context))
        if mask is None:
            return refuse(operator, "Select a strip that is covered")
        why = cls.explain_unavailable(context, mask)
        return not why or refuse(operator, why)

    @classmethod
    def explain_unavailable(cls, context: bpy.types.Context, mask: bpy.types.Mask) -> str:
        """Why it cannot be done; empty where it can."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> set[str]:
        operator: Any = self
        scene, strip = get_sequencer_scene(context), get_active_footage(context)
        try:
            said = self.work(scene, strip, get_mask(strip))
        except FaceBlurError as error:
            operator.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        operator.report({"INFO"}, said)
        return {"FINISHED"}

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        """Do it; what to say of it. Raises FaceBlurError."""
        raise NotImplementedError


class _OnEntry(_ReviewOperator):
    """An operator that works on the place that is looked at, where `explain_refusal` finds nothing against it."""

    @classmethod
    def explain_unavailable(cls, context: bpy.types.Context, mask: bpy.types.Mask) -> str:
        place = get_current(mask)
        return "Go to a doubtful place first, with Next" if place is None else cls.explain_refusal(place)

    @classmethod
    def explain_refusal(cls, place: ReviewEntry) -> str:
        return ""


class FACEBLUR_OT_review_next(_ReviewOperator, bpy.types.Operator):
    """Go to the riskiest doubtful place that nobody has judged, of this strip first and then of the others"""

    bl_idname = "faceblur.review_next"
    bl_label = "Next Doubtful Place"

    @classmethod
    def explain_unavailable(cls, context: bpy.types.Context, mask: bpy.types.Mask) -> str:
        left = find_next(get_sequencer_scene(context), get_active_footage(context)) is not None
        return "" if left else "All doubtful places are judged"

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        found = find_next(scene, strip)
        if found is None:
            raise FaceBlurError("All doubtful places are judged.")
        go_to(scene, *found)
        return describe_place(found[1])


class FACEBLUR_OT_review_previous(_ReviewOperator, bpy.types.Operator):
    """Go back to the doubtful place before this one, judged or not"""

    bl_idname = "faceblur.review_previous"
    bl_label = "Previous Doubtful Place"

    @classmethod
    def explain_unavailable(cls, context: bpy.types.Context, mask: bpy.types.Mask) -> str:
        before = find_previous(get_active_footage(context), mask)
        return "" if before is not None else "This is the strip's first doubtful place"

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        place = find_previous(strip, mask)
        if place is None:
            raise FaceBlurError("This is the strip's first doubtful place.")
        go_to(scene, strip, place)
        return describe_place(place)


class FACEBLUR_OT_review_fine(_OnEntry, bpy.types.Operator):
    """This place is right as it is now, corrected or not. Goes on to the next"""

    bl_idname = "faceblur.review_fine"
    bl_label = "Is Fine"

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        place = _get_current(mask)
        document = read_queue(mask).document
        fixed = document is not None and is_fixed(document, place)
        keep_verdict(mask, place.key, Verdict.FIXED if fixed else Verdict.FINE)
        return _go_on(scene, strip)


class FACEBLUR_OT_review_fix(_OnEntry, bpy.types.Operator):
    """Work on this place: go to its frame, with its face active and its handles shown. Is Fine ends that"""

    bl_idname = "faceblur.review_fix"
    bl_label = "Fix"

    @classmethod
    def explain_refusal(cls, place: ReviewEntry) -> str:
        return "It is not covered; Cover covers it" if place.track and not place.covered else ""

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        place = _get_current(mask)
        go_to(scene, strip, place)
        scene.faceblur.show_overlay = scene.faceblur.show_handles = True
        if place.track:
            return f"Drag the outline of '{place.track}', then Is Fine"
        return "Draw a box over the face that is missing, then Is Fine"


class FACEBLUR_OT_review_off(_OnEntry, bpy.types.Operator):
    """This is nothing that has to be covered: it shows in the frames that are in doubt. Goes on to the next"""

    bl_idname = "faceblur.review_off"
    bl_label = "Switch Off"

    @classmethod
    def explain_refusal(cls, place: ReviewEntry) -> str:
        return "" if place.covered else "It is not covered; if that is right, it is fine"

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        place = _get_current(mask)

        def change(document: TrackDocument) -> list[str]:
            name = _find_again(document, place).track
            check_freehand(mask, [name])
            editing.switch(editing.get_track(document, name), *place.off_frames, False)
            record_verdict(document, place.key, Verdict.OFF, get_reviewer())
            return [name]

        _change(mask, change)
        start, stop = place.off_frames
        return f"'{place.track}' shows in {count(stop - start, 'frame')}. {_go_on(scene, strip)}"


class FACEBLUR_OT_review_cover(_OnEntry, bpy.types.Operator):
    """Cover this track, which was left uncovered"""

    bl_idname = "faceblur.review_cover"
    bl_label = "Cover"

    @classmethod
    def explain_refusal(cls, place: ReviewEntry) -> str:
        if not place.track:
            return "Nothing was followed here; draw a box over the face"
        return "It is covered" if place.covered else ""

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        place = _get_current(mask)
        names: list[str] = []

        def change(document: TrackDocument) -> list[str]:
            names.append(editing.bring_back(document, _find_again(document, place).track).name)
            record_verdict(document, place.key, Verdict.COVERED, get_reviewer())
            return names

        _change(mask, change)
        layer = get_layer_name(mask, names[0])
        if layer:
            mask.layers.active = mask.layers[layer]
        return f"'{place.track}' is covered now, as '{names[0]}'"


def _get_current(mask: bpy.types.Mask) -> ReviewEntry:
    place = get_current(mask)
    if place is None:
        raise FaceBlurError("Go to a doubtful place first, with Next.")
    return place


def _find_again(document: TrackDocument, place: ReviewEntry) -> ReviewEntry:
    """The place as the document has it now: what Blender's tools did, such as to rename its face, has come in."""
    for other in list_review_entries(document):
        if other.key == place.key:
            return other
    raise FaceBlurError("That place is no longer in doubt.")


def _change(mask: bpy.types.Mask, change: Any) -> None:
    change_tracks(mask, change)
    PACE.end()
    if not bpy.app.background:
        refresh_shown_sequencers()


def _go_on(scene: bpy.types.Scene, strip: bpy.types.Strip) -> str:
    """Go to the next place; what to say of it."""
    found = find_next(scene, strip)
    if found is None:
        return "All doubtful places are judged"
    go_to(scene, *found)
    return f"{count(count_left(scene), 'doubtful place')} left"


CLASSES = (
    FACEBLUR_OT_review_next,
    FACEBLUR_OT_review_previous,
    FACEBLUR_OT_review_fine,
    FACEBLUR_OT_review_fix,
    FACEBLUR_OT_review_off,
    FACEBLUR_OT_review_cover,
)

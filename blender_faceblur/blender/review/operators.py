# SPDX-License-Identifier: GPL-3.0-or-later
"""Go through the review items of a scene's strips and give each one a verdict."""

from __future__ import annotations

from typing import Any

import bpy

from ...core.document import editing
from ...core.review.groups import list_open
from ...core.review.queue import ReviewEntry, list_review_entries, record_verdict
from ...core.translation import count, translate
from ...core.types import FaceBlurError, TrackDocument, Verdict
from ...reporting.wording import describe_place
from ..common.context import get_sequencer_scene, refresh_shown_sequencers
from ..common.selection import get_active_footage, has_strips, is_busy, refuse
from ..cover.strips import get_mask
from ..masks.changes import change_tracks, check_freehand
from ..masks.record import get_layer_name
from ..preferences.properties import get_reviewer
from .queue import (
    PACE,
    QueuedItem,
    accept,
    count_left,
    find_next,
    find_previous,
    get_current,
    go_to,
    list_covered,
    list_queue,
    open_pile,
)


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
        """Why the operator cannot run; empty if it can."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> set[str]:
        operator: Any = self
        scene, strip = get_sequencer_scene(context), get_active_footage(context)
        try:
            message = self.work(scene, strip, get_mask(strip))
        except FaceBlurError as error:
            operator.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        operator.report({"INFO"}, message)
        return {"FINISHED"}

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        """Do the work and return the message to show. Raises FaceBlurError."""
        raise NotImplementedError


class _OnEntry(_ReviewOperator):
    """An operator on the current review item; `explain_refusal` may rule it out."""

    @classmethod
    def explain_unavailable(cls, context: bpy.types.Context, mask: bpy.types.Mask) -> str:
        entry = get_current(mask)
        return "Go to a review item first, with Next" if entry is None else cls.explain_refusal(entry)

    @classmethod
    def explain_refusal(cls, entry: ReviewEntry) -> str:
        """Why the operator does not apply to an item; empty if it does."""
        return ""


class FACEBLUR_OT_review_next(bpy.types.Operator):
    """Go to the item that may show most and has not been reviewed, in any strip of the timeline"""

    bl_idname = "faceblur.review_next"
    bl_label = "Next Item to Review"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not has_strips(cls, context):
            return False
        scene = get_sequencer_scene(context)
        if next(list_covered(scene), None) is None:
            return refuse(cls, "No strip is covered: Detect Faces first")
        left = find_next(scene, get_active_footage(context)) is not None
        return left or refuse(cls, "All items are reviewed")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        found = find_next(scene, get_active_footage(context))
        if found is None:
            self.report({"ERROR"}, translate("All items are reviewed"))
            return {"CANCELLED"}
        go_to(scene, *found)
        self.report({"INFO"}, describe_place(found[1]))
        return {"FINISHED"}


class FACEBLUR_OT_review_previous(_ReviewOperator, bpy.types.Operator):
    """Go back to the item before this one in the queue, in any strip, whether it has been reviewed or not"""

    bl_idname = "faceblur.review_previous"
    bl_label = "Previous Item to Review"

    @classmethod
    def explain_unavailable(cls, context: bpy.types.Context, mask: bpy.types.Mask) -> str:
        before = find_previous(get_sequencer_scene(context), get_active_footage(context))
        return "" if before is not None else "This is the first review item"

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        found = find_previous(scene, strip)
        if found is None:
            raise FaceBlurError("This is the first review item.")
        go_to(scene, *found)
        return describe_place(found[1])


class FACEBLUR_OT_review_fine(_OnEntry, bpy.types.Operator):
    """Accept this item as it is now with all that it lists, corrected or not, and go to the next one"""

    bl_idname = "faceblur.review_fine"
    bl_label = "Is Fine"

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        earlier = list_queue(scene)
        accept(mask, _get_current(mask))
        return _go_on(scene, strip, earlier)


class FACEBLUR_OT_review_open(_OnEntry, bpy.types.Operator):
    """Go through the places of this pile one by one"""

    bl_idname = "faceblur.review_open"
    bl_label = "One by One"

    @classmethod
    def explain_refusal(cls, entry: ReviewEntry) -> str:
        return "" if entry.pile is not None else "This item is one place already"

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        open_pile(mask, _get_current(mask))
        return translate("{items} left to review", items=count(count_left(scene), "item"))


class FACEBLUR_OT_review_fix(_OnEntry, bpy.types.Operator):
    """Correct this item: go to its frame, make its face active and show the handles. Click Is Fine when done"""

    bl_idname = "faceblur.review_fix"
    bl_label = "Fix"

    @classmethod
    def explain_refusal(cls, entry: ReviewEntry) -> str:
        return "This track is not covered. Use Cover to cover it" if entry.track and not entry.covered else ""

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        entry = _get_current(mask)
        go_to(scene, strip, entry)
        scene.faceblur.show_overlay = scene.faceblur.show_handles = True
        if entry.track:
            return translate("Drag the outline of '{track}', then click Is Fine", track=entry.track)
        return "Draw a box over the missed face, then click Is Fine"


class FACEBLUR_OT_review_off(_OnEntry, bpy.types.Operator):
    """Switch the cover off in the frames of this item, as nothing there has to be covered, and go to the next one"""

    bl_idname = "faceblur.review_off"
    bl_label = "Switch Off"

    @classmethod
    def explain_refusal(cls, entry: ReviewEntry) -> str:
        return "" if entry.covered else "This track is not covered. If that is right, use Is Fine"

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        entry, earlier = _get_current(mask), list_queue(scene)

        def change(document: TrackDocument) -> list[str]:
            name = _find_again(document, entry).track
            check_freehand(mask, [name])
            editing.switch(editing.get_track(document, name), *entry.off_frames, False)
            record_verdict(document, entry.key, Verdict.TURNED_OFF, get_reviewer())
            return [name]

        _change(mask, change)
        start, stop = entry.off_frames
        return translate(
            "'{track}' is uncovered in {frames}. {next_item}",
            track=entry.track,
            frames=count(stop - start, "frame"),
            next_item=_go_on(scene, strip, earlier),
        )


class FACEBLUR_OT_review_cover(_OnEntry, bpy.types.Operator):
    """Cover this track, which is not covered yet, and all others that the item lists, and go to the next item"""

    bl_idname = "faceblur.review_cover"
    bl_label = "Cover"

    @classmethod
    def explain_refusal(cls, entry: ReviewEntry) -> str:
        if any(one.track and not one.covered for one in list_open(entry)):
            return ""
        return "This track is already covered" if entry.track else "No face was tracked here. Draw a box over the face"

    def work(self, scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> str:
        entry, earlier = _get_current(mask), list_queue(scene)
        names: list[str] = []

        def change(document: TrackDocument) -> list[str]:
            # The tracks that the item lists too: covering one more is the safe choice.
            for one in list_open(entry):
                if one.covered or not one.track:
                    continue
                track = _find_again(document, one).track
                if any(track == other.name for other in document.uncovered):
                    names.append(editing.bring_back(document, track).name)
                record_verdict(document, one.key, Verdict.COVERED, get_reviewer())
            return names

        _change(mask, change)
        layer = get_layer_name(mask, names[0]) if names else ""
        if layer:
            mask.layers.active = mask.layers[layer]
        covered = (
            translate("'{track}' is now covered as '{names}'", track=entry.track, names=names[0])
            if len(names) == 1 and not entry.covered
            else translate("Covered: {names}", names=", ".join(names))
        )
        return f"{covered}. {_go_on(scene, strip, earlier)}"


def _get_current(mask: bpy.types.Mask) -> ReviewEntry:
    entry = get_current(mask)
    if entry is None:
        raise FaceBlurError("Go to a review item first, with Next.")
    return entry


def _find_again(document: TrackDocument, entry: ReviewEntry) -> ReviewEntry:
    """The item as the document has it now, for instance after Blender's tools have renamed its face.

    Raises FaceBlurError if the item no longer exists.
    """
    for other in list_review_entries(document, [track.name for track in document.tracks]):
        if other.key == entry.key:
            return other
    raise FaceBlurError("This item no longer needs a review.")


def _change(mask: bpy.types.Mask, change: Any) -> None:
    change_tracks(mask, change)
    PACE.end()
    if not bpy.app.background:
        refresh_shown_sequencers()


def _go_on(scene: bpy.types.Scene, strip: bpy.types.Strip, earlier: list[QueuedItem]) -> str:
    """Go to the next item and return the message to show. `earlier` is the queue before the decision."""
    found = find_next(scene, strip, earlier)
    if found is None:
        return "All items are reviewed"
    go_to(scene, *found)
    return translate("{items} left to review", items=count(count_left(scene), "item"))


CLASSES = (
    FACEBLUR_OT_review_next,
    FACEBLUR_OT_review_previous,
    FACEBLUR_OT_review_fine,
    FACEBLUR_OT_review_open,
    FACEBLUR_OT_review_fix,
    FACEBLUR_OT_review_off,
    FACEBLUR_OT_review_cover,
)

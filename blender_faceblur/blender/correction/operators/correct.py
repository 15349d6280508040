# SPDX-License-Identifier: GPL-3.0-or-later
"""Correct the active face: where it begins and ends, its parts, and where its cover is off."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import bpy
from bpy.props import EnumProperty, StringProperty

from ....core.document import editing
from ....core.translation import count, translate
from ....core.types import Ellipse, FaceBlurError, Track, TrackDocument
from ...common.context import get_sequencer_scene, refresh_shown_sequencers
from ...common.footage import compute_shown, get_preview_range
from ...common.selection import EnumItems, get_active_footage, refuse
from ...cover.active_face import FaceTarget, get_target, has_target
from ...cover.strips import get_mask
from ...masks.changes import change_tracks, check_freehand
from ...masks.record import MaskRecord

REACH_S = 0.5
"""For how long before and after a new key the cover moves towards it."""


def apply_change(
    target: FaceTarget, change: Callable[[TrackDocument], Collection[str]], touched: Collection[str] = ()
) -> TrackDocument:
    """Change the tracks of the target's mask and refresh the preview.

    Raises FaceBlurError, for instance if one of the tracks `touched` was drawn by hand.
    """
    check_freehand(target.mask, touched)
    document = change_tracks(target.mask, change)
    if not bpy.app.background:
        refresh_shown_sequencers()
    return document


def set_cover(target: FaceTarget, cover: Ellipse, name: str = "") -> None:
    """Set the cover of a face at the playhead, in source pixels, as a locked key. Raises FaceBlurError."""
    name = name or target.track
    reach = max(2, round(REACH_S * target.rate))

    def change(document: TrackDocument) -> list[str]:
        editing.set_key(
            editing.get_track(document, name), target.source_frame, cover.scaled(1 / document.margin), reach
        )
        return [name]

    apply_change(target, change, [name])


class _OnFace:
    """An operator on the active face."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_target(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        operator: Any = self
        try:
            message = self.work(get_target(context))
        except FaceBlurError as error:
            operator.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        operator.report({"INFO"}, message)
        return {"FINISHED"}

    def work(self, target: FaceTarget) -> str:
        """Do the work and return the message to show. Raises FaceBlurError."""
        raise NotImplementedError

    def change(self, target: FaceTarget, work: Callable[[Track], None]) -> None:
        """Change only the target's track."""

        def change(document: TrackDocument) -> list[str]:
            work(editing.get_track(document, target.track))
            return [target.track]

        apply_change(target, change, [target.track])


class FACEBLUR_OT_begin_here(_OnFace, bpy.types.Operator):
    """Begin the cover of the active face at the playhead: uncover earlier frames, or extend the cover back to it"""

    bl_idname = "faceblur.begin_here"
    bl_label = "Begin Here"

    def work(self, target: FaceTarget) -> str:
        self.change(target, lambda track: _move_end(track, target.source_frame, begin=True))
        return translate("'{track}' begins here", track=target.track)


class FACEBLUR_OT_end_here(_OnFace, bpy.types.Operator):
    """End the cover of the active face at the playhead: uncover later frames, or extend the cover to it"""

    bl_idname = "faceblur.end_here"
    bl_label = "End Here"

    def work(self, target: FaceTarget) -> str:
        self.change(target, lambda track: _move_end(track, target.source_frame, begin=False))
        return translate("'{track}' ends here", track=target.track)


def _move_end(track: Track, frame: int, begin: bool) -> None:
    first, last = track.samples[0].source_frame, track.samples[-1].source_frame
    if (frame < first) if begin else (frame > last):
        editing.extend(track, frame)
    elif begin:
        editing.trim(track, frame, last + 1)
    else:
        editing.trim(track, first, frame + 1)


class FACEBLUR_OT_split_face(_OnFace, bpy.types.Operator):
    """Split the active face at the playhead into two faces"""

    bl_idname = "faceblur.split_face"
    bl_label = "Split Face"

    def work(self, target: FaceTarget) -> str:
        made: list[str] = []

        def change(document: TrackDocument) -> list[str]:
            made[:] = [track.name for track in editing.split(document, target.track, target.source_frame)]
            return made

        apply_change(target, change, [target.track])
        return translate("From here on, '{made}' is '{other}'", made=made[0], other=made[1])


def _list_others(operator: Any, context: bpy.types.Context | None) -> list[tuple[str, str, str]]:
    try:
        target = get_target(context or bpy.context, settled=False)
    except FaceBlurError:
        return _OTHERS.offer([("", "None", "")])
    layers = MaskRecord.load(target.mask).layers
    names = [track for track in map(layers.track_of, layers) if track != target.track]
    return _OTHERS.offer(
        [(name, name, translate("Merge '{name}' into the active face", name=name)) for name in names]
        or [("", "None", "")]
    )


_OTHERS = EnumItems()


class FACEBLUR_OT_merge_faces(_OnFace, bpy.types.Operator):
    """Merge another face of the same person into the active one"""

    bl_idname = "faceblur.merge_faces"
    bl_label = "Merge With"
    bl_property = "other"

    other: EnumProperty(name="Other Face", items=_list_others, description="The face to merge into the active one")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.invoke_search_popup(self)
        return {"FINISHED"}

    def work(self, target: FaceTarget) -> str:
        names = [target.track, self.other]
        made = []

        def change(document: TrackDocument) -> list[str]:
            made.append(editing.merge(document, names).name)
            return names

        apply_change(target, change, names)
        return translate(
            "'{track}' and '{other}' were merged into '{made}'", track=target.track, other=self.other, made=made[0]
        )


class FACEBLUR_OT_delete_face(_OnFace, bpy.types.Operator):
    """Uncover the active face and remove it from the list. Bring it back from the panel Ignored"""

    bl_idname = "faceblur.delete_face"
    bl_label = "Delete Face"

    def work(self, target: FaceTarget) -> str:
        def change(document: TrackDocument) -> list[str]:
            editing.delete(document, target.track)
            return [target.track]

        apply_change(target, change)
        return translate("'{track}' is no longer covered", track=target.track)


class FACEBLUR_OT_clear_key(_OnFace, bpy.types.Operator):
    """Unlock the active face's key at the playhead, so that tracking and detection may move it again"""

    bl_idname = "faceblur.clear_key"
    bl_label = "Clear Key"

    def work(self, target: FaceTarget) -> str:
        self.change(target, lambda track: editing.clear_key(track, target.source_frame))
        return translate("The key of '{track}' is unlocked", track=target.track)


class FACEBLUR_OT_lock_face(_OnFace, bpy.types.Operator):
    """Lock or unlock the active face. No later detection changes a locked face"""

    bl_idname = "faceblur.lock_face"
    bl_label = "Lock Face"

    def work(self, target: FaceTarget) -> str:
        locked = []

        def work(track: Track) -> None:
            track.locked = not track.locked
            locked.append(track.locked)

        self.change(target, work)
        return translate(
            "'{track}' is {words}",
            track=target.track,
            words=translate("locked") if locked[0] else translate("unlocked"),
        )


class FACEBLUR_OT_switch_face(_OnFace, bpy.types.Operator):
    """Switch the cover of the active face off or on in some frames"""

    bl_idname = "faceblur.switch_face"
    bl_label = "Switch Face"

    action: EnumProperty(name="Action", items=[("OFF", "Off", "Uncover the face"), ("ON", "On", "Cover the face")])
    where: EnumProperty(
        name="Where",
        items=[
            ("FRAME", "This Frame", "Only in the frame at the playhead"),
            ("RANGE", "Preview Range", "In the timeline's preview range (P key)"),
            ("FILM", "Whole Film", "In all frames"),
        ],
    )

    def work(self, target: FaceTarget) -> str:
        start, stop = self._compute_frames(target)
        self.change(target, lambda track: editing.switch(track, start, stop, self.action == "ON"))
        frames = count(stop - start, "frame")
        if self.action == "ON":
            return translate("'{track}' is covered in {frames}", track=target.track, frames=frames)
        return translate("'{track}' is uncovered in {frames}", track=target.track, frames=frames)

    def _compute_frames(self, target: FaceTarget) -> tuple[int, int]:
        if self.where == "FRAME":
            return target.source_frame, target.source_frame + 1
        length = target.mask.frame_end - target.mask.frame_start
        return compute_range(target, length) if self.where == "RANGE" else (0, length)


def compute_range(target: FaceTarget, length: int) -> tuple[int, int]:
    """The strip's source frames in the timeline's preview range. Raises FaceBlurError if there are none."""
    shown = compute_shown(target.strip, *get_preview_range(target.scene), length)
    if shown is None:
        raise FaceBlurError(translate("The preview range does not overlap the strip '{name}'.", name=target.strip.name))
    return shown


class FACEBLUR_OT_bring_back(bpy.types.Operator):
    """Cover a track of the active strip that is ignored or was deleted"""

    bl_idname = "faceblur.bring_back"
    bl_label = "Bring Back"
    bl_options = {"REGISTER", "UNDO"}

    name: StringProperty(name="Face", description="Name of the ignored track")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_mask(get_active_footage(context)) is not None or refuse(cls, "Select a strip that is covered")

    def execute(self, context: bpy.types.Context) -> set[str]:
        made = []

        def change(document: TrackDocument) -> list[str]:
            made.append(editing.bring_back(document, self.name).name)
            return made

        try:
            mask = get_mask(get_active_footage(context))
            apply_change(FaceTarget(get_sequencer_scene(context), None, mask, "", 0), change)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, translate("'{name}' is now covered as '{made}'", name=self.name, made=made[0]))
        return {"FINISHED"}


CLASSES = (
    FACEBLUR_OT_begin_here,
    FACEBLUR_OT_end_here,
    FACEBLUR_OT_split_face,
    FACEBLUR_OT_merge_faces,
    FACEBLUR_OT_delete_face,
    FACEBLUR_OT_clear_key,
    FACEBLUR_OT_lock_face,
    FACEBLUR_OT_switch_face,
    FACEBLUR_OT_bring_back,
)

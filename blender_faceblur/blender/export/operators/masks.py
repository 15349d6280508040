# SPDX-License-Identifier: GPL-3.0-or-later
"""Export Face Masks: the covers of the active strip's film as masks of another program."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ....core.translation import translate
from ....core.types import FaceBlurError
from ...common.selection import get_active_footage, is_busy, refuse
from ...cover.baked import is_baked
from ...cover.strips import get_mask
from ..masks import export_masks

PROGRAM_ITEMS = (
    (".setting", "Fusion, DaVinci Resolve", "Ellipse masks for Fusion Studio and the Fusion page of DaVinci Resolve"),
    (".jsx", "After Effects", "A script that adds an adjustment layer with the masks"),
    (".py", "Nuke", "A script that adds a Roto node with the masks"),
)
"""By the ending of the file."""


class FACEBLUR_OT_export_masks(bpy.types.Operator):
    """Write the covers of the active strip's film as animated masks for another program. They count from the film's
    first frame, so the other program has to show the whole film"""

    bl_idname = "faceblur.export_masks"
    bl_label = "Export Face Masks"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", description="The file to be written")
    filter_glob: StringProperty(default="*.setting;*.jsx;*.py", options={"HIDDEN"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    overwrite: BoolProperty(name="Overwrite", description="Replace an existing file")
    program: EnumProperty(name="Program", description="The program that reads the file", items=PROGRAM_ITEMS)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        strip = get_active_footage(context)
        covered = strip is not None and (is_baked(strip) or get_mask(strip) is not None)
        return covered or refuse(cls, "Select a strip that is covered")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if not self.filepath:
            folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path()
            self.filepath = str(folder / f"{bpy.path.clean_name(get_active_footage(context).name)}{self.program}")
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context: bpy.types.Context) -> bool:
        """Change the ending of the name with the program."""
        path = Path(self.filepath)
        endings = [item[0] for item in PROGRAM_ITEMS]
        name = path.stem if path.suffix.lower() in endings else path.name
        changed = str(path.with_name(name + self.program)) if name else self.filepath
        if changed == self.filepath:
            return False
        self.filepath = changed
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            # The file selector has asked before an existing file is replaced: it shows its name in red.
            path = Path(bpy.path.abspath(self.filepath))
            strip = get_active_footage(context)
            done = export_masks(strip, path, self.program, self.overwrite or self.options.is_invoke)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report(
            {"INFO"},
            translate("{name} holds the masks. Look at them in the other program, frame by frame", name=done.name),
        )
        return {"FINISHED"}

# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a .blend file of the effects, for projects that use them without the extension.

Run as `python -m tools.library` in the environment that build.py creates.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .lint import ROOT

PICTURE = (1920, 1080)
FACE_PX = 135.0
"""The face width for which the groups' values are computed until the user sets others: an eighth of the height."""


def build_library(output: Path) -> None:
    """Write a file with one node group per effect, as an asset, for the Compositor modifier of a strip.

    The values are on the effect's node inside: Blender 5.0 gives further inputs of such a group the value 0.
    """
    import bpy

    from blender_faceblur.blender.common.marks import MARK
    from blender_faceblur.blender.cover.compositing import build_strip_group
    from blender_faceblur.blender.cover.effects import EFFECTS
    from blender_faceblur.blender.preferences.properties import EFFECT_ITEMS
    from blender_faceblur.core.cover.effects import EffectSettings

    bpy.ops.wm.read_factory_settings(use_empty=True)
    meanings = {name: meaning for name, _, meaning in EFFECT_ITEMS}
    groups = set()
    for effect in EFFECTS:
        name = f"Face Blur: {effect.label}"
        tree = build_strip_group(name, PICTURE, max(PICTURE), FACE_PX, EffectSettings(effect.name))
        # The mark is only for groups that the extension has put on a strip.
        del tree[MARK]
        tree.asset_mark()
        tree.asset_data.description = meanings[effect.name]
        tree.asset_data.author = "Face Blur"
        tree.asset_data.license = "GPL-3.0-or-later"
        tree.asset_data.tags.new("Face Blur")
        groups.add(tree)
    output.parent.mkdir(parents=True, exist_ok=True)
    bpy.data.libraries.write(str(output), groups, fake_user=True, compress=True)


def main(arguments: list[str] | None = None) -> int:
    """Build the library; returns 0 on success."""
    parser = argparse.ArgumentParser(prog="build.py library", description="Build a .blend file of the effects.")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "dist" / "faceblur_effects.blend",
        metavar="FILE",
        help="default: dist/faceblur_effects.blend",
    )
    options = parser.parse_args(arguments)
    build_library(options.output.resolve())
    print(f"{options.output}  {options.output.stat().st_size / 1e3:.0f} kB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

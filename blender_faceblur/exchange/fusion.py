# SPDX-License-Identifier: GPL-3.0-or-later
"""The covers as animated masks for Fusion and for the Fusion page of DaVinci Resolve: a `.setting` of ellipse masks."""

from __future__ import annotations

import math
from typing import TextIO

from ..core.types import TrackDocument
from .masks import MaskKeys, list_masks

SPARE_FRAMES = 1
"""How many frames longer a mask covers at each end of its spans. Programs that show a clip at another rate ask for
positions between two frames, where a linear curve would be halfway to the place of an absent mask."""


def write_fusion(document: TrackDocument, stream: TextIO) -> None:
    """One ellipse mask for each covered track. They are chained, so that the last one holds them all.

    Frames count from 0, as those of a whole clip in Fusion do. Frames that were not analysed are covered completely.
    An absent mask is moved aside: a level of 0 would lower the masks below it. Raises FaceBlurError, see `list_masks`.
    """
    source, masks = document.source, list_masks(document, "Fusion", SPARE_FRAMES)
    stream.write("{\n\tTools = ordered() {\n")
    for number, mask in enumerate(masks, 1):
        below = f"FaceBlur{number - 1}" if number > 1 else None
        _write_mask(stream, f"FaceBlur{number}", mask, below, (source.width, source.height))
    stream.write(f'\t}},\n\tActiveTool = "FaceBlur{len(masks)}"\n}}\n')


def _write_mask(stream: TextIO, tool: str, mask: MaskKeys, below: str | None, size: tuple[int, int]) -> None:
    width, height = size
    curves: dict[str, list[tuple[int, float]]] = {"X": [], "Y": [], "Width": [], "Height": [], "Angle": []}
    for frame, shape, _ in mask.list_placed(width):
        curves["X"].append((frame, shape.cx / width))
        curves["Y"].append((frame, 1 - shape.cy / height))
        # Both are shares of the picture's width: a mask with equal numbers is a circle.
        curves["Width"].append((frame, 2 * shape.rx / width))
        curves["Height"].append((frame, 2 * shape.ry / width))
        # Fusion turns counterclockwise.
        curves["Angle"].append((frame, -math.degrees(shape.angle)))
    for name, keys in curves.items():
        stream.write(f"\t\t{tool}{name} = BezierSpline {{\n\t\t\tNameSet = true,\n\t\t\tKeyFrames = {{\n")
        stream.writelines(
            f"\t\t\t\t[{frame}] = {{ {value:.6f}, Flags = {{ Linear = true }} }},\n" for frame, value in keys
        )
        stream.write("\t\t\t}\n\t\t},\n")
    stream.write(
        f'\t\t{tool}Path = XYPath {{\n\t\t\tShowKeyPoints = false,\n\t\t\tDrawMode = "ModifyOnly",\n\t\t\tInputs = {{\n'
        f"\t\t\t\tX = {_link(tool + 'X', 'Value')},\n\t\t\t\tY = {_link(tool + 'Y', 'Value')},\n\t\t\t}}\n\t\t}},\n"
        f"\t\t{tool} = EllipseMask {{\n\t\t\tNameSet = true,\n\t\t\tInputs = {{\n"
    )
    if below is not None:
        stream.write(f"\t\t\t\tEffectMask = {_link(below, 'Mask')},\n")
    comment = "".join(letter for letter in mask.name if letter.isalnum() or letter in " -_.")
    stream.write(
        f"\t\t\t\tMaskWidth = Input {{ Value = {width}, }},\n\t\t\t\tMaskHeight = Input {{ Value = {height}, }},\n"
        "\t\t\t\tPixelAspect = Input { Value = { 1, 1 }, },\n"
        f"\t\t\t\tCenter = {_link(tool + 'Path', 'Value')},\n"
        f"\t\t\t\tWidth = {_link(tool + 'Width', 'Value')},\n\t\t\t\tHeight = {_link(tool + 'Height', 'Value')},\n"
        f"\t\t\t\tAngle = {_link(tool + 'Angle', 'Value')},\n"
        f'\t\t\t\tComments = Input {{ Value = "{comment}", }},\n'
        f"\t\t\t}},\n\t\t\tViewInfo = OperatorInfo {{ Pos = {{ {_place(tool)}, 0 }} }},\n\t\t}},\n"
    )


def _link(tool: str, output: str) -> str:
    return f'Input {{ SourceOp = "{tool}", Source = "{output}", }}'


def _place(tool: str) -> int:
    """Where a mask stands in the view of nodes: side by side, in Fusion's own distance."""
    return 110 * int(tool.removeprefix("FaceBlur"))

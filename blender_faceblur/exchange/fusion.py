# SPDX-License-Identifier: GPL-3.0-or-later
"""The covers as animated masks for Fusion and for the Fusion page of DaVinci Resolve: a `.setting` of ellipse masks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TextIO

import numpy as np

from ..core.cover.keyframes import compute_tolerance_px
from ..core.types import Ellipse, FaceBlurError, Track, TrackDocument

SPARE_FRAMES = 1
"""How many frames longer a mask covers at each end of its spans. Programs that show a clip at another rate ask for
positions between two frames, where a linear curve would be halfway to the place of an absent mask."""

ABSENT_X = -10.0
"""The centre of a mask that covers nothing, in picture widths. A level of 0 would lower the masks below it."""


EDGE_PX = 1.0
"""How much larger the masks are, in pixels: our covers fill the pixels too that their outlines only touch."""


@dataclass(frozen=True, slots=True)
class MaskKeys:
    """The keys of one mask: an ellipse at each frame, or None where it covers nothing. Between keys it is linear."""

    name: str
    keys: dict[int, Ellipse | None]


def write_fusion(document: TrackDocument, stream: TextIO) -> None:
    """One ellipse mask for each covered track, with the margin and tolerance of its cover.

    They are chained, so that the last one holds them all.

    Frames count from 0, as those of a whole clip in Fusion do. Frames that were not analysed are covered completely.

    Raises FaceBlurError if the film's pixels are not square: a mask of Fusion would be turned in another shape of
    pixels than ours.
    """
    source = document.source
    if source.pixel_aspect != 1:
        raise FaceBlurError(
            f"{source.file_name}: masks for Fusion need square pixels. Save mattes (--save-mattes) instead."
        )
    # Where nothing is covered, the file still holds a mask to connect, since a tool without one works on all pixels.
    masks = list_masks(document) or [MaskKeys("Nothing is covered", {0: None})]
    stream.write("{\n\tTools = ordered() {\n")
    for number, mask in enumerate(masks, 1):
        below = f"FaceBlur{number - 1}" if number > 1 else None
        _write_mask(stream, f"FaceBlur{number}", mask, below, (source.width, source.height))
    stream.write(f'\t}},\n\tActiveTool = "FaceBlur{len(masks)}"\n}}\n')


def list_masks(document: TrackDocument) -> list[MaskKeys]:
    """The masks of a document: one for each track that is covered somewhere, and one for what was not analysed."""
    count = document.source.frame_count
    masks = []
    for track in document.tracks:
        keys = _compute_keys(track.list_covered_spans(), _list_shapes(track, document.margin), count)
        if keys:
            masks.append(MaskKeys(track.name, keys))
    reach = 2.0 * max(document.source.width, document.source.height)
    everything = Ellipse(document.source.width / 2, document.source.height / 2, reach, reach, 0.0)
    unanalysed = document.list_unanalysed_spans()
    shapes = {frame: everything for start, stop in unanalysed for frame in range(start, stop)}
    keys = _compute_keys(unanalysed, shapes, count)
    return [*masks, MaskKeys("Not analysed", keys)] if keys else masks


def _list_shapes(track: Track, margin: float) -> dict[int, Ellipse]:
    """The ellipse of each frame, margin included, as large as the cover may be that the editor has seen."""
    faces = [sample.ellipse for sample in track.samples]
    if not faces:
        return {}
    tolerances = compute_tolerance_px(np.array([(e.cx, e.cy, e.rx, e.ry, e.angle) for e in faces])).tolist()
    return {
        sample.source_frame: sample.ellipse.scaled(margin).grown(tolerance + EDGE_PX)
        for sample, tolerance in zip(track.samples, tolerances, strict=True)
    }


def _compute_keys(
    spans: list[tuple[int, int]], shapes: dict[int, Ellipse], frame_count: int
) -> dict[int, Ellipse | None]:
    """A key for each frame of the spans and `SPARE_FRAMES` around them, and one for its absence beyond these.

    At the first and last frame of the film nothing ends: players may show a moment more.
    """
    keys: dict[int, Ellipse | None] = {}
    for start, stop in spans:
        for frame in range(start, stop):
            keys[frame] = shapes[frame]
    for start, stop in spans:
        for spare in range(1, SPARE_FRAMES + 1):
            keys.setdefault(start - spare, shapes[start])
            keys.setdefault(stop - 1 + spare, shapes[stop - 1])
    for start, stop in spans:
        if start > 0:
            keys.setdefault(start - 1 - SPARE_FRAMES, None)
        if stop < frame_count:
            keys.setdefault(stop + SPARE_FRAMES, None)
    return dict(sorted(keys.items()))


def _write_mask(stream: TextIO, tool: str, mask: MaskKeys, below: str | None, size: tuple[int, int]) -> None:
    width, height = size
    curves: dict[str, list[tuple[int, float]]] = {"X": [], "Y": [], "Width": [], "Height": [], "Angle": []}
    present = next((ellipse for ellipse in mask.keys.values() if ellipse is not None), Ellipse(0, 0, 1, 1, 0))
    shape, angle = present, -math.degrees(present.angle)
    for frame, ellipse in mask.keys.items():
        # An absent mask keeps its shape, and goes aside.
        shape = ellipse or shape
        # Half a turn leaves an ellipse unchanged, but not the angles between two keys. Fusion turns counterclockwise.
        angle += math.remainder(-math.degrees(shape.angle) - angle, 180.0)
        curves["X"].append((frame, ABSENT_X if ellipse is None else shape.cx / width))
        curves["Y"].append((frame, 1 - shape.cy / height))
        # Both are shares of the picture's width: a mask with equal numbers is a circle.
        curves["Width"].append((frame, 2 * shape.rx / width))
        curves["Height"].append((frame, 2 * shape.ry / width))
        curves["Angle"].append((frame, angle))
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

# SPDX-License-Identifier: GPL-3.0-or-later
"""The covers as animated masks for Nuke: a Python script that builds a Roto node, for Nuke's script editor.

The text in which Nuke itself stores the shapes of a Roto node is not documented, and differs for animated points. The
classes of `nuke.rotopaint` are documented, and stay the same.
"""

from __future__ import annotations

import json
import math
import re
from typing import TextIO

from ..core.cover.keyframes import HANDLE
from ..core.types import TrackDocument
from .masks import MaskKeys, list_masks

SPARE_FRAMES = 2
"""How many frames longer a mask covers at each end of its spans. Nuke's curves are smooth, so between a mask's last key
and the one that moves it aside they swing. The swing reaches one key further back: it has to be beyond the span."""

_BEGINNING = '''\
# -*- coding: ascii -*-
"""Covers of Face Blur as an animated Roto node for Nuke.

Select the node that shows the film (its Read node), then run this script: in the Script Editor, "Source a script".
"""
import math

import nuke
import nuke.rotopaint as rp

FILM = %(film)s
WIDTH, HEIGHT = %(width)d, %(height)d
# Length of a Bezier handle for a quarter of a circle.
HANDLE = %(handle)s
# Name of each shape and its keys: frame (from 0), centre, half axes, angle (pixels and degrees, from the lower left
# corner, counterclockwise). A key far to the left of the picture means that the shape covers nothing.
MASKS = [
'''

_END = '''\
]


def list_points(x, y, across, down, angle):
    """The four points of an ellipse: position, handle before and handle after, both relative to the position."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def turn(u, v):
        return u * across * cos - v * down * sin, u * across * sin + v * down * cos

    points = []
    for u, v in ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)):
        to_x, to_y = turn(u, v)
        after = turn(-v * HANDLE, u * HANDLE)
        points.append(((x + to_x, y + to_y), (-after[0], -after[1]), after))
    return points


def add_mask(curves, name, keys, first):
    shape = rp.Shape(curves)
    for position, _, _ in list_points(*keys[0][1:]):
        shape.append(rp.ShapeControlPoint(*position))
    shape.name = name
    curves.rootLayer.append(shape)
    for key in keys:
        frame = key[0] + first
        for number, (position, before, after) in enumerate(list_points(*key[1:])):
            point = shape[number]
            point.center.addPositionKey(frame, rp.CVec3(position[0], position[1], 1.0))
            # The feather has the same curve, so there is none. Without handles it would cut across the ellipse.
            for handle in (point.leftTangent, point.featherLeftTangent):
                handle.addPositionKey(frame, rp.CVec3(before[0], before[1], 0.0))
            for handle in (point.rightTangent, point.featherRightTangent):
                handle.addPositionKey(frame, rp.CVec3(after[0], after[1], 0.0))


def build():
    nodes = nuke.selectedNodes()
    if len(nodes) != 1:
        raise ValueError("Select the node that shows %s, and nothing else." % FILM)
    source = nodes[0]
    size = (source.width(), source.height())
    if size != (WIDTH, HEIGHT) or source.pixelAspect() != 1:
        raise ValueError(
            "%s has %d x %d square pixels, but the selected node shows %d x %d. Select its Read node."
            % ((FILM, WIDTH, HEIGHT) + size)
        )
    first = source.firstFrame()
    if nuke.GUI:
        answer = nuke.getInput("On which frame does %s begin?" % FILM, str(first))
        if answer is None:
            return None
        first = int(answer)
    masks = [(name, [[float(part) for part in line.split()] for line in keys.split("\\n") if line.strip()])
             for name, keys in MASKS]
    roto = nuke.createNode("Roto", inpanel=False)
    roto.setInput(0, source)
    curves = roto["curves"]
    for name, keys in masks:
        add_mask(curves, name, keys, first)
    curves.changed()
    return roto


build()
'''


def write_nuke(document: TrackDocument, stream: TextIO) -> None:
    """A Python script that builds a Roto node with a Bezier shape of four points for each covered track.

    It has keys on every frame. Frames that were not analysed are covered completely. Raises FaceBlurError, see
    `list_masks`.
    """
    source, masks = document.source, list_masks(document, "Nuke", SPARE_FRAMES)
    stream.write(
        _BEGINNING
        % {
            "film": _quote(source.file_name),
            "width": source.width,
            "height": source.height,
            "handle": HANDLE,
        }
    )
    taken: set[str] = set()
    for mask in masks:
        stream.write(f'    ("{_name(mask, taken)}", """\n')
        stream.writelines(
            f"{frame} {shape.cx:.3f} {source.height - shape.cy:.3f} {shape.rx:.3f} {shape.ry:.3f} "
            f"{-math.degrees(shape.angle):.4f}\n"
            for frame, shape, _ in mask.list_placed(source.width)
        )
        stream.write('"""),\n')
    stream.write(_END)


def _quote(text: str) -> str:
    """A string literal that means the same in Python 2 and 3, from letters that a message can show. Nuke up to 12 has
    Python 2."""
    return json.dumps("".join(letter if letter.isprintable() and letter.isascii() else "?" for letter in text))


def _name(mask: MaskKeys, taken: set[str]) -> str:
    """A name that Nuke takes and that no other shape has: letters of ASCII, digits and underscores."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", mask.name).strip("_") or "Face"
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}_{number}"
    taken.add(name)
    return name

# SPDX-License-Identifier: GPL-3.0-or-later
"""The covers as animated masks for After Effects: a script (`.jsx`) that adds an adjustment layer with them."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import TextIO

from ..core.cover.keyframes import HANDLE
from ..core.types import TrackDocument
from .masks import list_masks

SPARE_FRAMES = 1
"""How many frames longer a mask covers at each end of its spans. After Effects rounds times."""

LONGEST_NAME = 31
"""How many letters of a track's name a mask gets, so that it meets no limit of the program. Origin: a guess on the safe
side, since Adobe's documents give no limit for masks."""

# ExtendScript is the JavaScript of 1999: no JSON, no let or const, no functions of arrays.
_BEGINNING = """\
// Covers of Face Blur as animated masks for After Effects.
// Select the layer that shows the film in its composition, then run this script: File > Scripts > Run Script File.
(function () {
    var FILM = %(film)s;
    var WIDTH = %(width)d, HEIGHT = %(height)d, FRAMES = %(frames)d, RATE = %(rate).6f;
    // Length of a Bezier handle for a quarter of a circle.
    var HANDLE = %(handle)s;
    // Name of each mask and its keys: frame (from 0), centre, half axes, angle (pixels and degrees, from the upper left
    // corner, clockwise), and 1 if the shape is held until the next key. A key far to the left of the picture means
    // that the mask covers nothing.
    var MASKS = [
"""

_END = """\
    ];

    function getLayer() {
        var comp = app.project ? app.project.activeItem : null;
        if (!(comp instanceof CompItem) || comp.selectedLayers.length !== 1) {
            throw new Error("Open a composition and select the layer that shows " + FILM + ".");
        }
        return comp.selectedLayers[0];
    }

    function isNear(one, other, distance) {
        return Math.abs(one - other) <= distance;
    }

    function checkLayer(layer, comp) {
        var source = layer.source;
        if (!source || source.width !== WIDTH || source.height !== HEIGHT || !isNear(source.pixelAspect, 1, 0.0001)) {
            throw new Error("The selected layer does not show " + FILM + ", which has " + WIDTH + " x " + HEIGHT +
                            " square pixels.");
        }
        if (layer.threeDLayer) {
            throw new Error("The layer is a 3D layer. Masks do not follow it: use mattes.");
        }
        if (FRAMES === 1) {
            return;
        }
        if (!isNear(source.frameRate, RATE, 0.01) || !isNear(comp.frameRate, RATE, 0.01)) {
            throw new Error("The film and the composition need " + RATE + " frames a second. They have " +
                            source.frameRate + " and " + comp.frameRate + ".");
        }
        if (!isNear(source.duration * RATE, FRAMES, 2)) {
            throw new Error("The layer does not show " + FILM + ", which has " + FRAMES + " frames.");
        }
        if (layer.timeRemapEnabled || !isNear(layer.stretch, 100, 0.001)) {
            throw new Error("The layer has another speed than its film. Remove the time remapping or stretching.");
        }
        var start = layer.startTime * comp.frameRate;
        if (!isNear(start, Math.round(start), 0.01)) {
            throw new Error("The film begins between two frames of the composition. Move the layer to a frame.");
        }
    }

    function makeShape(key) {
        var cos = Math.cos(key[5] * Math.PI / 180), sin = Math.sin(key[5] * Math.PI / 180);
        function turn(u, v) {
            return [u * key[3] * cos - v * key[4] * sin, u * key[3] * sin + v * key[4] * cos];
        }
        var corners = [[1, 0], [0, 1], [-1, 0], [0, -1]];
        var vertices = [], before = [], after = [];
        for (var i = 0; i < corners.length; i++) {
            var u = corners[i][0], v = corners[i][1], place = turn(u, v);
            vertices.push([key[1] + place[0], key[2] + place[1]]);
            before.push(turn(v * HANDLE, -u * HANDLE));
            after.push(turn(-v * HANDLE, u * HANDLE));
        }
        var shape = new Shape();
        shape.vertices = vertices;
        shape.inTangents = before;
        shape.outTangents = after;
        shape.closed = true;
        return shape;
    }

    function addMask(layer, name, keys, frameSeconds) {
        var masks = layer.property("ADBE Mask Parade");
        var mask = masks.addProperty("ADBE Mask Atom");
        mask.name = name;
        mask.maskMode = MaskMode.ADD;
        var path = mask.property("ADBE Mask Shape");
        if (FRAMES === 1) {
            path.setValue(makeShape(keys[0]));
            return;
        }
        var times = [], shapes = [];
        for (var i = 0; i < keys.length; i++) {
            times.push(layer.startTime + keys[i][0] * frameSeconds);
            shapes.push(makeShape(keys[i]));
        }
        path.setValuesAtTimes(times, shapes);
        if (path.numKeys !== keys.length) {
            throw new Error("After Effects has " + path.numKeys + " of the " + keys.length + " keys of " + name + ".");
        }
        for (var k = 0; k < keys.length; k++) {
            if (keys[k][6] === 1) {
                path.setInterpolationTypeAtKey(k + 1, KeyframeInterpolationType.LINEAR, KeyframeInterpolationType.HOLD);
            }
        }
    }

    function build() {
        var film = getLayer(), comp = film.containingComp;
        checkLayer(film, comp);
        var layer = comp.layers.addSolid([1, 1, 1], "Face Blur", WIDTH, HEIGHT, 1);
        try {
            layer.adjustmentLayer = true;
            layer.moveBefore(film);
            layer.startTime = film.startTime;
            layer.inPoint = film.inPoint;
            layer.outPoint = film.outPoint;
            // In the place of the film, however that is moved, scaled and turned.
            layer.parent = film;
            var place = layer.property("ADBE Transform Group");
            place.property("ADBE Anchor Point").setValue([0, 0]);
            place.property("ADBE Position").setValue([0, 0]);
            place.property("ADBE Scale").setValue([100, 100]);
            place.property("ADBE Rotate Z").setValue(0);
            for (var i = 0; i < MASKS.length; i++) {
                addMask(layer, MASKS[i][0], MASKS[i][1], comp.frameDuration);
            }
        } catch (error) {
            // Masks that are not complete must not look as if they were.
            layer.remove();
            throw error;
        }
    }

    app.beginUndoGroup("Face Blur masks");
    try {
        build();
    } catch (error) {
        alert("No masks were made. " + error.message);
    } finally {
        app.endUndoGroup();
    }
})();
"""


def write_after_effects(document: TrackDocument, stream: TextIO) -> None:
    """A script that adds an adjustment layer with a mask for each covered track, with a key on every frame.

    Frames that were not analysed are covered completely. Raises FaceBlurError, see `list_masks`.
    """
    source, masks = document.source, list_masks(document, "After Effects", SPARE_FRAMES)
    stream.write(
        _BEGINNING
        % {
            "film": _quote(source.file_name),
            "width": source.width,
            "height": source.height,
            "frames": source.frame_count,
            "rate": source.frame_rate,
            "handle": HANDLE,
        }
    )
    for number, mask in enumerate(masks):
        # The first and the last key hold beyond the film, and nobody knows what times before 0 do.
        placed = [one for one in mask.list_placed(source.width) if 0 <= one[0] < source.frame_count]
        # Moving aside takes no time: the key before it is held.
        held = [one[2] != after[2] for one, after in pairwise(placed)] + [False]
        stream.write(f"        [{_quote(mask.name[:LONGEST_NAME])}, [\n")
        last = len(placed) - 1
        stream.writelines(
            f"            [{frame}, {shape.cx:.3f}, {shape.cy:.3f}, {shape.rx:.3f}, {shape.ry:.3f}, "
            f"{math.degrees(shape.angle):.4f}, {int(hold)}]{'' if at == last else ','}\n"
            for at, ((frame, shape, _), hold) in enumerate(zip(placed, held, strict=True))
        )
        stream.write(f"        ]]{',' if number < len(masks) - 1 else ''}\n")
    stream.write(_END)


def _quote(text: str) -> str:
    """A string literal: JSON is also JavaScript if all letters beyond ASCII are escaped, as they are here."""
    return json.dumps("".join(letter if letter.isprintable() else "?" for letter in text))

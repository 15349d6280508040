# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of the masks for other programs: they take a file as those programs are documented to, and evaluate it.

They share nothing with what writes the files. None of the programs is here: what they do is known from their documents
and from what others have measured in them.
"""

from __future__ import annotations

import ast
import json
import math
import re
import sys
import types
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

TOKEN = re.compile(r'\s*(?:(-?\d+(?:\.\d+)?)|"([^"\\\n]*)"|([A-Za-z_]\w*)|([{}()\[\]=,]))')

STEPS = 48
"""Parts of each piece of a Bezier curve, whose chords lie at most 0.02 % of the radius inside of it."""


class MaskFile(ABC):
    """What a program makes of a file, in a film of `size` (width, height)."""

    names: list[str]
    size: tuple[int, int]

    @abstractmethod
    def contains(self, time: float, x: Any, y: Any) -> NDArray[np.bool_]:
        """Which points (pixels from the upper left corner) the masks cover at a time (frames from the film's first)."""


def read_setting(text: str) -> Any:
    """Lua's tables, and constructors like Input { ... }, which are taken for their tables with the name under ""."""
    tokens = [match.groups() for match in TOKEN.finditer(text)]
    assert "".join(TOKEN.sub("", text).split()) == ""
    at = 0

    def take(mark: str = "") -> tuple[str | None, ...]:
        nonlocal at
        assert not mark or tokens[at][3] == mark, (mark, tokens[at])
        at += 1
        return tokens[at - 1]

    def read_value() -> Any:
        number, string, name, _ = tokens[at]
        if number is not None or string is not None:
            take()
            return float(number) if number is not None else string
        if name in {"true", "false"}:
            take()
            return name == "true"
        if name is not None:
            take()
            if tokens[at][3] == "(":
                take("(")
                take(")")
            return {"": name, **read_value()}
        return read_table()

    def read_table() -> dict[Any, Any]:
        take("{")
        table: dict[Any, Any] = {}
        while tokens[at][3] != "}":
            if tokens[at][3] == "[":
                take("[")
                key: Any = float(str(take()[0]))
                take("]")
                take("=")
            elif tokens[at][2] is not None and tokens[at + 1][3] == "=":
                key = take()[2]
                take("=")
            else:
                key = sum(isinstance(key, int) for key in table)
            assert key not in table
            table[key] = read_value()
            if tokens[at][3] != "}":
                take(",")
        take("}")
        return table

    setting = read_value()
    assert at == len(tokens)
    return setting


def list_chain(setting: Any) -> list[str]:
    """The names of the masks from the last one, which an editor connects, to the first."""
    chain = [setting["ActiveTool"]]
    while "EffectMask" in (inputs := setting["Tools"][chain[-1]]["Inputs"]):
        assert inputs["EffectMask"]["Source"] == "Mask"
        chain.append(inputs["EffectMask"]["SourceOp"])
    return chain


def evaluate(tools: Any, source: Any, time: float) -> float:
    """An input's value; every key has to be linear."""
    assert source["Source"] == "Value"
    tool = tools[source["SourceOp"]]
    assert tool[""] == "BezierSpline"
    assert all(key["Flags"] == {"Linear": True} for key in tool["KeyFrames"].values())
    times = sorted(tool["KeyFrames"])
    return float(np.interp(time, times, [tool["KeyFrames"][one][0] for one in times]))


class FusionFile(MaskFile):
    """A `.setting`: centres are shares of the picture from its lower left corner, sizes are shares of its width, angles
    are degrees counterclockwise."""

    def __init__(self, text: str, size: tuple[int, int]) -> None:
        self.size, self.setting = size, read_setting(text)
        self.chain = list_chain(self.setting)
        self.names = [self.setting["Tools"][name]["Inputs"]["Comments"]["Value"] for name in reversed(self.chain)]

    def contains(self, time: float, x: Any, y: Any) -> NDArray[np.bool_]:
        tools, (width, height) = self.setting["Tools"], self.size
        inside = np.zeros(np.shape(x), dtype=bool)
        for name in self.chain:
            assert tools[name][""] == "EllipseMask"
            inputs = tools[name]["Inputs"]
            path = tools[inputs["Center"]["SourceOp"]]
            assert path[""] == "XYPath" and inputs["Center"]["Source"] == "Value"
            dx = x - evaluate(tools, path["Inputs"]["X"], time) * width
            dy = (height - y) - evaluate(tools, path["Inputs"]["Y"], time) * height
            turn = math.radians(evaluate(tools, inputs["Angle"], time))
            u, v = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
            rx = evaluate(tools, inputs["Width"], time) * width / 2
            ry = evaluate(tools, inputs["Height"], time) * width / 2
            inside |= (u / rx) ** 2 + (v / ry) ** 2 <= 1
        return inside


def is_inside(points: list[tuple[Any, Any, Any]], x: Any, y: Any) -> NDArray[np.bool_]:
    """Which points lie inside of a closed Bezier curve, given its points: position, handle before, handle after, the
    handles relative to the position."""
    t = np.arange(STEPS)[:, None] / STEPS
    outline = []
    for (here, _, after), (there, before, _) in zip(points, [*points[1:], points[0]], strict=True):
        a, b, c, d = (np.asarray(p, float) for p in (here, np.add(here, after), np.add(there, before), there))
        outline.append((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d)
    polygon = np.concatenate(outline)
    places = np.stack((np.ravel(x), np.ravel(y)), axis=1)
    near = ((places >= polygon.min(axis=0)) & (places <= polygon.max(axis=0))).all(axis=1)
    inside = np.zeros(len(places), bool)
    # A point is inside if a ray from it to the right crosses the outline an odd number of times.
    (px, py), ends = places[near].T, np.roll(polygon, -1, axis=0)
    crossed = np.zeros(len(px), bool)
    for (x1, y1), (x2, y2) in zip(polygon.tolist(), ends.tolist(), strict=True):
        if y1 != y2:
            crossed ^= ((y1 <= py) != (y2 <= py)) & (px < x1 + (py - y1) * (x2 - x1) / (y2 - y1))
    inside[near] = crossed
    return inside.reshape(np.shape(x))


class Vector(tuple[float, ...]):
    """`CVec3` of Nuke."""

    __slots__ = ()

    def __new__(cls, *values: float) -> Vector:
        return super().__new__(cls, values)


@dataclass
class AnimatedPoint:
    """`AnimControlPoint` of Nuke: keys of three coordinates, with smooth curves between them."""

    keys: dict[float, tuple[float, ...]] = field(default_factory=dict)
    at_rest: tuple[float, float] = (0.0, 0.0)
    weight: float = 0.0

    def addPositionKey(self, time: float, position: Vector) -> None:  # noqa: N802 (Nuke's name)
        # A position has the weight 1, what is relative to it 0.
        assert len(position) == 3 and position[2] == self.weight
        self.keys[float(time)] = position

    def evaluate(self, time: float) -> tuple[float, float]:
        if not self.keys:
            return self.at_rest
        times = np.array(sorted(self.keys))
        values = np.array([self.keys[one][:2] for one in times])
        if len(times) == 1 or time <= times[0] or time >= times[-1]:
            nearest = values[int(np.argmin(np.abs(times - time)))]
            return float(nearest[0]), float(nearest[1])
        # A cubic curve through the keys, whose slope at a key is that between its neighbours.
        slopes = np.gradient(values, times, axis=0)
        left = int(np.searchsorted(times, time, "right")) - 1
        step = times[left + 1] - times[left]
        t = (time - times[left]) / step
        value = (
            (2 * t**3 - 3 * t**2 + 1) * values[left]
            + (t**3 - 2 * t**2 + t) * step * slopes[left]
            + (3 * t**2 - 2 * t**3) * values[left + 1]
            + (t**3 - t**2) * step * slopes[left + 1]
        )
        return float(value[0]), float(value[1])


class ControlPoint:
    """`ShapeControlPoint` of Nuke."""

    def __init__(self, x: float, y: float) -> None:
        self.center = AnimatedPoint(at_rest=(x, y), weight=1.0)
        self.leftTangent, self.rightTangent = AnimatedPoint(), AnimatedPoint()
        self.featherCenter = AnimatedPoint()
        self.featherLeftTangent, self.featherRightTangent = AnimatedPoint(), AnimatedPoint()


class Shape(list[ControlPoint]):
    """`Shape` of Nuke."""

    def __init__(self, curves: Any) -> None:
        super().__init__()
        self.curves, self.name = curves, "Bezier1"


class NukeNode:
    """A node that shows a film, or a Roto node."""

    def __init__(self, size: tuple[int, int], first: int = 1) -> None:
        self.size, self.first = size, first
        self.below: Any = None
        self.shapes: list[Shape] = []
        self.rootLayer = self.shapes
        self.is_changed = False

    def width(self) -> int:
        return self.size[0]

    def height(self) -> int:
        return self.size[1]

    def pixelAspect(self) -> float:  # noqa: N802 (Nuke's name)
        return 1.0

    def firstFrame(self) -> int:  # noqa: N802 (Nuke's name)
        return self.first

    def setInput(self, number: int, node: Any) -> None:  # noqa: N802 (Nuke's name)
        assert number == 0
        self.below = node

    def __getitem__(self, knob: str) -> NukeNode:
        assert knob == "curves"
        return self

    def changed(self) -> None:
        self.is_changed = True


def run_nuke(text: str, selected: list[NukeNode], answer: str | None = "") -> NukeNode | None:
    """Run a script in a stand-in of Nuke; the Roto node that it made.

    `answer`: to its question; "" if Nuke has no window.
    """
    made: list[NukeNode] = []

    def create(kind: str, inpanel: bool = True) -> NukeNode:
        assert kind == "Roto" and not inpanel
        made.append(NukeNode(selected[0].size))
        return made[-1]

    nuke, rotopaint = types.ModuleType("nuke"), types.ModuleType("nuke.rotopaint")
    vars(nuke).update(
        GUI=answer != "",
        getInput=lambda question, before: answer,
        selectedNodes=lambda: selected,
        createNode=create,
        rotopaint=rotopaint,
    )
    vars(rotopaint).update(Shape=Shape, ShapeControlPoint=ControlPoint, CVec3=Vector)
    assert text.isascii()
    ast.parse(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "nuke", nuke)
        patch.setitem(sys.modules, "nuke.rotopaint", rotopaint)
        exec(compile(text, "masks.py", "exec"), {"__name__": "__main__"})  # noqa: S102 (our own script)
    assert len(made) <= 1
    return made[0] if made else None


class NukeFile(MaskFile):
    """A script for Nuke: pixels from the lower left corner. A point is opaque where it is inside of the shape and of
    its feather's curve, which begins at the shape."""

    def __init__(self, text: str, size: tuple[int, int]) -> None:
        self.size, self.film = size, NukeNode(size, first=1001)
        roto = run_nuke(text, [self.film])
        assert roto is not None and roto.below is self.film and roto.is_changed
        self.roto = roto
        self.names = [shape.name for shape in roto.shapes]

    def contains(self, time: float, x: Any, y: Any) -> NDArray[np.bool_]:
        inside, at = np.zeros(np.shape(x), dtype=bool), time + self.film.first
        for shape in self.roto.shapes:
            outline, feather = [], []
            for point in shape:
                centre = point.center.evaluate(at)
                outline.append((centre, point.leftTangent.evaluate(at), point.rightTangent.evaluate(at)))
                soft = np.add(centre, point.featherCenter.evaluate(at))
                feather.append((soft, point.featherLeftTangent.evaluate(at), point.featherRightTangent.evaluate(at)))
            inside |= is_inside(outline, x, self.size[1] - y) & is_inside(feather, x, self.size[1] - y)
        return inside


AFTER_EFFECTS = """
// A stand-in of After Effects: what the scripts use of it, and nothing else.
var LOG = {alerts: [], undo: 0, layers: []};
function alert(text) { LOG.alerts.push(text); }
function Shape() { this.vertices = []; this.inTangents = []; this.outTangents = []; this.closed = true; }
var MaskMode = {ADD: "add"}, KeyframeInterpolationType = {LINEAR: "linear", HOLD: "hold"};
function Value(value) { this.value = value; }
Value.prototype.setValue = function (value) { this.value = value; this.keys = []; };
function Path() { this.keys = []; this.numKeys = 0; }
Path.prototype.setValue = function (value) { this.keys = [{time: 0, shape: value, hold: false}]; };
Path.prototype.setValuesAtTimes = function (times, shapes) {
    if (times.length !== shapes.length) { throw new Error("lengths"); }
    for (var i = 0; i < times.length; i++) { this.keys.push({time: times[i], shape: shapes[i], hold: false}); }
    this.numKeys = this.keys.length;
};
Path.prototype.setInterpolationTypeAtKey = function (index, before, after) {
    if (index < 1 || index > this.numKeys || before !== "linear") { throw new Error("index"); }
    this.keys[index - 1].hold = after === "hold";
};
function Mask() { this.path = new Path(); }
Mask.prototype.property = function (name) {
    if (name !== "ADBE Mask Shape") { throw new Error(name); }
    return this.path;
};
function Layer(source) {
    this.source = source; this.masks = []; this.startTime = 0; this.inPoint = 0; this.outPoint = 0; this.stretch = 100;
    this.timeRemapEnabled = false; this.threeDLayer = false; this.adjustmentLayer = false; this.parent = null;
    this.transform = {};
}
Layer.prototype.moveBefore = function (other) { this.above = other; };
Layer.prototype.remove = function () { LOG.layers.splice(LOG.layers.length - 1, 1); };
Layer.prototype.property = function (name) {
    var layer = this;
    if (name === "ADBE Mask Parade") {
        return {addProperty: function (kind) {
            if (kind !== "ADBE Mask Atom") { throw new Error(kind); }
            layer.masks.push(new Mask());
            return layer.masks[layer.masks.length - 1];
        }};
    }
    if (name !== "ADBE Transform Group") { throw new Error(name); }
    return {property: function (part) {
        if (!layer.transform[part]) { layer.transform[part] = new Value(null); }
        return layer.transform[part];
    }};
};
function CompItem() {}
var comp = new CompItem();
comp.frameRate = HOST.rate; comp.frameDuration = 1 / HOST.rate;
comp.layers = {addSolid: function (colour, name, width, height, aspect) {
    var layer = new Layer({width: width, height: height, pixelAspect: aspect});
    layer.name = name;
    LOG.layers.push(layer);
    return layer;
}};
var film = new Layer({width: HOST.width, height: HOST.height, pixelAspect: HOST.aspect, frameRate: HOST.filmRate,
                      duration: HOST.duration});
film.containingComp = comp; film.startTime = HOST.start; film.inPoint = HOST.start; film.outPoint = HOST.start + 100;
film.stretch = HOST.stretch; film.timeRemapEnabled = HOST.remapped; film.threeDLayer = HOST.threeD;
comp.selectedLayers = HOST.selected ? [film] : [];
var app = {project: {activeItem: comp},
           beginUndoGroup: function () { LOG.undo += 1; }, endUndoGroup: function () { LOG.undo -= 1; }};
"""

REPORT = """
;(function () {
    var layers = [];
    for (var i = 0; i < LOG.layers.length; i++) {
        var layer = LOG.layers[i], masks = [], place = {};
        for (var k = 0; k < layer.masks.length; k++) {
            masks.push({name: layer.masks[k].name, mode: layer.masks[k].maskMode, keys: layer.masks[k].path.keys});
        }
        for (var part in layer.transform) { place[part] = layer.transform[part].value; }
        layers.push({adjustment: layer.adjustmentLayer, above: layer.above === film, parent: layer.parent === film,
                     start: layer.startTime, "in": layer.inPoint, out: layer.outPoint, place: place, masks: masks});
    }
    return JSON.stringify({alerts: LOG.alerts, undo: LOG.undo, layers: layers});
})();
"""


def run_after_effects(text: str, host: dict[str, Any]) -> Any:
    """Run a script in a stand-in of After Effects; what it did there.

    The engine knows JavaScript of 2009. `tests/core/test_masks.py` looks for what ExtendScript (of 1999) does not have.
    """
    # A Blender application finds the package, but its module is for another Python.
    dukpy = pytest.importorskip("dukpy", reason="there is no JavaScript engine dukpy here", exc_type=ImportError)
    assert text.isascii()
    return json.loads(dukpy.evaljs([f"var HOST = {json.dumps(host)};", AFTER_EFFECTS, text, REPORT]))


def make_host(size: tuple[int, int], frames: int, at_rate: float, **changes: Any) -> dict[str, Any]:
    """A composition with the film selected, which begins at frame 50."""
    host = {
        "width": size[0],
        "height": size[1],
        "aspect": 1,
        "rate": at_rate,
        "filmRate": at_rate,
        "start": 50 / at_rate,
    }
    host |= {"duration": frames / at_rate, "stretch": 100, "remapped": False, "threeD": False, "selected": True}
    return host | changes


class AfterEffectsFile(MaskFile):
    """A script for After Effects: pixels of the layer from the upper left corner."""

    def __init__(self, text: str, size: tuple[int, int], frames: int = 30, rate: float = 25.0) -> None:
        self.size, self.rate = size, rate
        done = run_after_effects(text, make_host(size, frames, rate))
        assert done["alerts"] == [], done["alerts"]
        assert done["undo"] == 0 and len(done["layers"]) == 1
        self.layer = done["layers"][0]
        assert self.layer["adjustment"] and self.layer["above"] and self.layer["parent"]
        assert self.layer["place"]["ADBE Position"] == self.layer["place"]["ADBE Anchor Point"] == [0, 0]
        self.masks = self.layer["masks"]
        assert all(mask["mode"] == "add" for mask in self.masks)
        self.names = [mask["name"] for mask in self.masks]

    def contains(self, time: float, x: Any, y: Any) -> NDArray[np.bool_]:
        inside, at = np.zeros(np.shape(x), dtype=bool), (50 + time) / self.rate
        for mask in self.masks:
            keys = mask["keys"]
            times = [key["time"] for key in keys]
            assert times == sorted(times)
            # A picture has one value and no keys.
            assert len(times) == 1 or times[0] >= 50 / self.rate - 1e-6, "a key before the film"
            # A time that is a hair before its key still belongs to it.
            left = max(int(np.searchsorted(times, at + 1e-9, "right")) - 1, 0)
            here, there = keys[left], keys[min(left + 1, len(keys) - 1)]
            part = (at - here["time"]) / (there["time"] - here["time"]) if there["time"] > here["time"] else 0.0
            part = 0.0 if here["hold"] else min(max(part, 0.0), 1.0)
            arrays = [
                (1 - part) * np.array(here["shape"][name]) + part * np.array(there["shape"][name])
                for name in ("vertices", "inTangents", "outTangents")
            ]
            inside |= is_inside(list(zip(*arrays, strict=True)), x, y)
        return inside

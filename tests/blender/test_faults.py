# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of faults: what a broken project delivers with and without the extension, and what the extension reports.

docs/project.md has the same table, and a test compares the two. Each fault is rendered as a still and as an animation,
both in frames that were previewed before the project broke, and so are in Blender's cache, and in others.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import pytest

import blender_faceblur
from blender_faceblur.blender.bake.baking import apply, bake, list_bakeable
from blender_faceblur.blender.command import render_project
from blender_faceblur.blender.common.context import borrow_sequencer
from blender_faceblur.blender.common.jobs import run_to_end
from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.cover.baked import BakedRecord, is_baked
from blender_faceblur.blender.cover.strips import remove_strip
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.reporting.progress import Reporter

from . import disks

ROOT = Path(__file__).resolve().parents[2]
EFFECT = EffectSettings("solid", disks.COVER)
PREVIEWED = (10, 11)
RANGE = (9, 14)
"""First and last frame of the animation, which includes the two previewed frames."""

COVERED, WHOLE, BLACK, FACE = "the face is covered", "all is covered", "black", "**the face shows**"
NOTHING = "nothing"
ABSENT = "does not exist"
"""What breaks is not part of a baked project."""


@dataclass(frozen=True, slots=True)
class FaultCase:
    """A row: what breaks, what is delivered with the extension and without, what a baked project delivers without the
    extension, and what the extension reports of a project that is not baked."""

    name: str
    break_it: Callable[[Any, Any], None]
    blacked_out: str
    plain: str
    baked: str
    reported: str
    repaired: bool = True
    """Whether Repair fixes the fault, so that the face is covered again."""


def _get_mask_strip(strip: Any) -> Any:
    return get_modifier(strip).input_mask_strip


def _get_mask(strip: Any) -> Any:
    return BakedRecord.load(strip).mask if is_baked(strip) else _get_mask_strip(strip).mask


def _get_group(strip: Any) -> Any:
    return BakedRecord.load(strip).group if is_baked(strip) else get_modifier(strip).node_group


def switch_off(scene: Any, strip: Any) -> None:
    get_modifier(strip).enable = False


def mute(scene: Any, strip: Any) -> None:
    get_modifier(strip).mute = True


def remove_modifier(scene: Any, strip: Any) -> None:
    modifier = get_modifier(strip)
    modifier.node_group = None
    strip.modifiers.remove(modifier)


def add_again(scene: Any, strip: Any) -> None:
    path = strip.filepath
    if not is_baked(strip):
        remove_strip(scene, _get_mask_strip(strip))
    remove_strip(scene, strip)
    scene.sequence_editor.strips.new_movie("disk", path, 1, 1)


def delete_group(scene: Any, strip: Any) -> None:
    bpy.data.node_groups.remove(_get_group(strip))


def delete_mask(scene: Any, strip: Any) -> None:
    bpy.data.masks.remove(_get_mask(strip))


def delete_mask_strip(scene: Any, strip: Any) -> None:
    remove_strip(scene, _get_mask_strip(strip))


def cut_mask_strip(scene: Any, strip: Any) -> None:
    _get_mask_strip(strip).frame_final_duration = 6


def leave_out_frames(scene: Any, strip: Any) -> None:
    _get_mask_strip(strip).animation_offset_end = 10


def shorten_mask(scene: Any, strip: Any) -> None:
    mask = _get_mask(strip)
    mask.frame_end = 4
    mask.update_tag()


def hide_picture_layer(scene: Any, strip: Any) -> None:
    mask = _get_mask(strip)
    mask.layers[0].hide_render = True
    mask.update_tag()


def turn_layer_round(scene: Any, strip: Any) -> None:
    mask = _get_mask(strip)
    mask.layers[1].invert = False
    mask.update_tag()


def empty_layer(scene: Any, strip: Any) -> None:
    mask = _get_mask(strip)
    mask.layers[1].splines[0].use_fill = False
    mask.update_tag()


def move_mask_frames(scene: Any, strip: Any) -> None:
    mask = _get_mask(strip)
    mask.frame_start, mask.frame_end = mask.frame_start + 10, mask.frame_end + 10
    mask.update_tag()


def brighten_mask_strip(scene: Any, strip: Any) -> None:
    with borrow_sequencer(scene):
        _get_mask_strip(strip).modifiers.new("Bright", "BRIGHT_CONTRAST").bright = 100


def change_unit(scene: Any, strip: Any) -> None:
    for node in _get_group(strip).nodes:
        if "Unit" in node.inputs:
            node.inputs["Unit"].default_value *= 1.5


def pass_on(scene: Any, strip: Any) -> None:
    tree = bpy.data.node_groups["Face Blur Solid"]
    source, result = (
        next(node for node in tree.nodes if node.bl_idname == f"NodeGroup{kind}") for kind in ("Input", "Output")
    )
    tree.links.new(source.outputs["Image"], result.inputs[0])


def move_alone(scene: Any, strip: Any) -> None:
    strip.frame_start += 8


def relink(scene: Any, strip: Any) -> None:
    path = Path(bpy.path.abspath(strip.filepath))
    # A baked film is in a folder beside its source.
    strip.filepath = str((path.parents[1] if is_baked(strip) else path.parent) / "elsewhere.mp4")


def disable(scene: Any, strip: Any) -> None:
    """Disable the extension; the project itself is intact."""
    if hasattr(bpy.types, "FACEBLUR_PT_main"):
        blender_faceblur.unregister()


FAULTS = [
    FaultCase("modifier switched off in render", switch_off, BLACK, FACE, ABSENT, "Its cover is switched off."),
    FaultCase("modifier muted", mute, BLACK, FACE, ABSENT, "Its cover is switched off."),
    FaultCase("modifier removed", remove_modifier, BLACK, FACE, ABSENT, "It has no cover."),
    FaultCase(
        "strip deleted and added again", add_again, BLACK, FACE, COVERED, "Its file was analysed, but it has no cover."
    ),
    FaultCase("node group deleted", delete_group, BLACK, FACE, COVERED, "It has no cover."),
    FaultCase("mask deleted", delete_mask, BLACK, FACE, COVERED, "Its Mask strip has lost its mask."),
    FaultCase(
        "a face's layer no longer inverted",
        turn_layer_round,
        WHOLE,
        FACE,
        COVERED,
        "The mask's layer 'Face 01' shows what it should cover: its blending, inversion or fill was changed.",
    ),
    FaultCase(
        "a face's layer no longer filled",
        empty_layer,
        BLACK,
        FACE,
        COVERED,
        "The mask's layer 'Face 01' shows what it should cover: its blending, inversion or fill was changed.",
    ),
    FaultCase("first and last frame of the mask changed", move_mask_frames, COVERED, FACE, COVERED, NOTHING),
    FaultCase(
        "a modifier on the Mask strip",
        brighten_mask_strip,
        BLACK,
        FACE,
        ABSENT,
        "Its Mask strip was moved, scaled or modified.",
    ),
    FaultCase(
        "the value Unit in the node group changed",
        change_unit,
        BLACK,
        FACE,
        COVERED,
        "Its node group puts the mask over the picture at the wrong size.",
    ),
    FaultCase(
        "the effect's node group passes the picture through",
        pass_on,
        BLACK,
        FACE,
        COVERED,
        "The node group 'Face Blur Solid' passes its input through unchanged.",
    ),
    FaultCase(
        "footage linked to another file",
        relink,
        BLACK,
        FACE,
        FACE,
        "It shows a different file from the one that was analysed.",
        repaired=False,
    ),
    FaultCase("footage moved without its Mask strip", move_alone, COVERED, FACE, COVERED, NOTHING),
    FaultCase("Mask strip cut short", cut_mask_strip, COVERED, COVERED, ABSENT, NOTHING),
    FaultCase(
        "Mask strip without its last frames (*animation offset*)", leave_out_frames, COVERED, COVERED, ABSENT, NOTHING
    ),
    FaultCase("mask shorter than the film", shorten_mask, COVERED, COVERED, COVERED, NOTHING),
    FaultCase(
        "Mask strip deleted", delete_mask_strip, WHOLE, WHOLE, ABSENT, "Its mask is lost: the whole picture is covered."
    ),
    FaultCase(
        'layer "Picture" hidden in render',
        hide_picture_layer,
        WHOLE,
        WHOLE,
        COVERED,
        "The first layer of its mask is hidden or gone: the whole picture is covered.",
    ),
    FaultCase("extension disabled", disable, COVERED, COVERED, COVERED, NOTHING),
]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the film, and a second film whose face is elsewhere."""
    folder = tmp_path_factory.mktemp("films")
    disks.write_film(folder / "disk.mp4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disks, "place_disk", lambda frame: (260.0 - 5 * frame, 120.0))
        disks.write_film(folder / "elsewhere.mp4")
    return folder


@pytest.fixture
def build(films: Path, tmp_path: Path) -> Iterator[Callable[[], tuple[Any, Any]]]:
    """Builds the covered project. Afterwards the extension is disabled, if it is still enabled."""

    def build() -> tuple[Any, Any]:
        for film in films.iterdir():
            shutil.copy(film, tmp_path)
        film = tmp_path / "disk.mp4"
        scene = build_project(film, disks.build_document(film), EFFECT)
        scene.frame_start, scene.frame_end = RANGE
        # Sets the file format of the pictures.
        disks.render_frame(scene, RANGE[0], tmp_path / "first.png")
        return scene, disks.get_cover(scene)[0]

    yield build
    disable(None, None)


def deliver(scene: Any, folder: Path) -> set[str]:
    """What Blender itself renders: a still of a previewed frame, a still of another frame, and an animation.

    If a face shows in any of them, only that is returned.
    """
    pictures = [_render_still(scene, frame, folder) for frame in (PREVIEWED[0], 30)]
    frames = folder / "frames"
    scene.render.filepath = str(frames / "f")
    bpy.ops.render.render(animation=True, scene=scene.name)
    written = sorted(frames.iterdir())
    assert len(written) == RANGE[1] - RANGE[0] + 1
    pictures += [_read(path) for path in written]
    shutil.rmtree(frames)
    reported = {tell(picture) for picture in pictures}
    return {FACE} if FACE in reported else reported


def _render_still(scene: Any, frame: int, folder: Path) -> Any:
    """Render a still; unlike `disks.render_frame` without clearing Blender's cache of previewed frames."""
    scene.frame_set(frame)
    scene.render.filepath = str(folder / "still.png")
    bpy.ops.render.render(write_still=True, scene=scene.name)
    return _read(folder / "still.png")


def _read(path: Path) -> Any:
    import cv2

    return cv2.imread(str(path))[..., ::-1]


def tell(picture: Any) -> str:
    seen = disks.see(picture)
    if seen.disk:
        return FACE
    if seen.cover > 0.95 * disks.WIDTH * disks.HEIGHT:
        return WHOLE
    # A cover that is still there is blue.
    return BLACK if picture[..., :2].max() <= 2 else COVERED


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_with_the_extension_no_face_is_delivered(
    fault: FaultCase, build: Callable[[], tuple[Any, Any]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene, strip = build()
    blender_faceblur.register()
    assert {tell(_render_still(scene, frame, tmp_path)) for frame in PREVIEWED} == {COVERED}
    capfd.readouterr()
    fault.break_it(scene, strip)
    # A window does this after each edit.
    bpy.context.view_layer.update()
    faults = [found.text for found in guard.check_scene(scene)]
    assert deliver(scene, tmp_path) == {fault.blacked_out}
    printed = capfd.readouterr().err
    if fault.blacked_out == BLACK:
        assert f"Face Blur: Rendered black: 'disk'. {fault.reported}\n" in printed
    assert faults == ([fault.reported] if fault.reported != NOTHING else [])
    if fault.reported != NOTHING:
        strip = scene.sequence_editor.strips_all["disk"]
        assert (guard.repair_strip(scene, strip, EFFECT) == []) == fault.repaired
        if fault.repaired:
            assert deliver(scene, tmp_path) == {COVERED}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_without_the_extension_blender_delivers_what_the_table_says(
    fault: FaultCase, build: Callable[[], tuple[Any, Any]], tmp_path: Path
) -> None:
    scene, strip = build()
    assert {tell(_render_still(scene, frame, tmp_path)) for frame in PREVIEWED} == {COVERED}
    fault.break_it(scene, strip)
    # In the session that broke the project, frames may be delivered as they were previewed.
    assert deliver(scene, tmp_path) <= {fault.plain, COVERED}
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "broken.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "broken.blend"))
    assert deliver(bpy.context.scene, tmp_path) == {fault.plain}


def _bake(scene: Any, folder: Path) -> Any:
    """Bake the covers of the project; returns the strip."""
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "project.blend"))
    assert apply(run_to_end(bake(list_bakeable(scene)))) == (["disk"], [])
    return scene.sequence_editor.strips_all["disk"]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.baked != ABSENT], ids=lambda fault: fault.name)
def test_a_baked_project_delivers_what_the_table_says(
    fault: FaultCase, build: Callable[[], tuple[Any, Any]], tmp_path: Path
) -> None:
    scene, _ = build()
    strip = _bake(scene, tmp_path)
    assert {tell(_render_still(scene, frame, tmp_path)) for frame in PREVIEWED} == {COVERED}
    fault.break_it(scene, strip)
    bpy.context.view_layer.update()
    assert deliver(scene, tmp_path) <= {fault.baked, COVERED}
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "broken.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "broken.blend"))
    assert deliver(bpy.context.scene, tmp_path) == {fault.baked}
    if fault.break_it != disable:
        blender_faceblur.register()
        # Every change of what was baked is reported, and nothing is rendered that shows a face.
        assert deliver(bpy.context.scene, tmp_path) <= {BLACK, COVERED}


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.baked == ABSENT], ids=lambda fault: fault.name)
def test_what_does_not_exist_in_a_baked_project_cannot_break(
    fault: FaultCase, build: Callable[[], tuple[Any, Any]], tmp_path: Path
) -> None:
    scene, _ = build()
    strip = _bake(scene, tmp_path)
    with pytest.raises(AttributeError):
        fault.break_it(scene, strip)
    assert [other.type for other in scene.sequence_editor.strips_all] == ["MOVIE"]


END_EARLY = """
import os, signal, sys
root, how, extension, project, folder = sys.argv[-5:]
sys.path.insert(0, root)
import bpy
if extension == "with":
    import blender_faceblur
    blender_faceblur.register()
bpy.ops.wm.open_mainfile(filepath=project)
scene = bpy.context.scene
scene.render.filepath = os.path.join(folder, "f")
written = []
def act(*_):
    written.append(scene.frame_current)
    if len(written) == 3:
        print("ENDS NOW", flush=True)
        if how == "cancelled":
            os.kill(os.getpid(), signal.SIGINT)
        elif how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "aborted":
            os.abort()
if how == "full":
    os.symlink("/dev/full", os.path.join(folder, f"f{scene.frame_start + 3:04}.png"))
bpy.app.handlers.render_write.append(act)
bpy.ops.render.render(animation=True, scene=scene.name)
print("GOES ON", flush=True)
"""

ENDS = {
    "render cancelled half way": "cancelled",
    "disk full": "full",
    "Blender killed": "killed",
    "graphics card lost (simulated: Blender aborts)": "aborted",
}


@pytest.mark.skipif(sys.platform == "win32", reason="ends processes by signals")
@pytest.mark.parametrize("extension", ["with", "without", "baked"])
@pytest.mark.parametrize("name", ENDS)
def test_a_render_that_ends_early_leaves_no_face_behind(
    name: str, extension: str, build: Callable[[], tuple[Any, Any]], tmp_path: Path
) -> None:
    """The test uses a project that would show the face with the extension, and an intact or a baked one without it."""
    how = ENDS[name]
    if how == "cancelled" and getattr(bpy.app, "module", False):
        pytest.skip("only the application can be asked to cancel a render without a window")
    if how == "full" and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    scene, strip = build()
    if extension == "with":
        switch_off(scene, strip)
    if extension == "baked":
        _bake(scene, tmp_path)
    project, folder, script = tmp_path / "project.blend", tmp_path / "frames", tmp_path / "end_early.py"
    folder.mkdir()
    script.write_text(END_EARLY, encoding="utf-8")
    bpy.ops.wm.save_as_mainfile(filepath=str(project))
    command = (
        [sys.executable, str(script)]
        if getattr(bpy.app, "module", False)
        else [bpy.app.binary_path, "-b", "--factory-startup", "--python", str(script), "--"]
    )
    done = subprocess.run(
        [*command, str(ROOT), how, extension, str(project), str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert "ENDS NOW" in printed and ("GOES ON" in printed) == (how in ("cancelled", "full")), printed
    written = [path for path in sorted(folder.iterdir()) if path.stat().st_size > 0 and not path.is_symlink()]
    assert len(written) == (RANGE[1] - RANGE[0] if how == "full" else 3), printed
    assert {tell(_read(path)) for path in written} == {BLACK if extension == "with" else COVERED}
    if extension == "with":
        assert "Rendered black: 'disk'. Its cover is switched off." in printed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_the_command_reports_a_full_disk(build: Callable[[], tuple[Any, Any]], tmp_path: Path) -> None:
    scene, _ = build()
    (tmp_path / "out").mkdir()
    scene.render.filepath = str(tmp_path / "out" / "f")
    render_project(scene, Reporter())
    (tmp_path / "out" / "f0012.png").unlink()
    (tmp_path / "out" / "f0012.png").symlink_to("/dev/full")
    with pytest.raises(FaceBlurError, match=r"1 of the rendered pictures .* f0012[.]png"):
        render_project(scene, Reporter())


def test_the_manual_has_this_table() -> None:
    lines = (ROOT / "docs" / "project.md").read_text(encoding="utf-8").split("## What is delivered", 1)[1].splitlines()
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("|")]
    first = next(number for number, row in enumerate(rows) if set(row[0]) == {"-"}) + 1
    reported = rows[first : first + len(FAULTS)]
    assert reported == [(fault.name, fault.blacked_out, fault.plain, fault.baked, fault.reported) for fault in FAULTS]
    assert [row[0] for row in rows[first + len(FAULTS) :]] == list(ENDS)

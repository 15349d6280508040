# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard finds broken covers, and renders strips that would show faces black. More faults are in test_faults.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.common.marks import (
    MARK,
    get_modifier,
)
from blender_faceblur.blender.cover import handlers as cover_handlers
from blender_faceblur.blender.cover.covering import MUST_BE_COVERED, uncover
from blender_faceblur.blender.guard import blackout, handlers
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.blender.rendering.render import render_animation
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import TrackStatus

from . import disks

EFFECT = EffectSettings("solid", disks.COVER)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disks.write_film(tmp_path_factory.mktemp("film") / "disk.mp4")


@pytest.fixture
def project(film: Path, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    own = shutil.copy(film, tmp_path / "film.mp4")
    scene = build_project(Path(own), disks.build_document(Path(own)), EFFECT)
    cover_handlers.register_handlers()
    handlers.register_handlers()
    yield scene, disks.get_cover(scene)[0]
    handlers.unregister_handlers()
    cover_handlers.unregister_handlers()


def _delete_mask_strip(scene: Any, strip: Any) -> None:
    from blender_faceblur.blender.cover.strips import remove_strip

    remove_strip(scene, get_modifier(strip).input_mask_strip)


def _animate(scene: Any, strip: Any) -> None:
    modifier = get_modifier(strip)
    modifier.mute = True
    scene.keyframe_insert(modifier.path_from_id("mute"), frame=1)


def _unlink(scene: Any, strip: Any) -> None:
    tree = get_modifier(strip).node_group
    output = next(node for node in tree.nodes if node.bl_idname == "NodeGroupOutput")
    source = next(node for node in tree.nodes if node.bl_idname == "NodeGroupInput")
    tree.links.new(source.outputs["Image"], output.inputs["Image"])


def _mute_node(scene: Any, strip: Any) -> None:
    for node in get_modifier(strip).node_group.nodes:
        if node.bl_idname == "ShaderNodeMix":
            node.mute = True


def _mute_inner_nodes(scene: Any, strip: Any) -> None:
    for node in bpy.data.node_groups["Face Blur Picture Space"].nodes:
        node.mute = node.bl_idname == "ShaderNodeMath"


def _change_inner_number(scene: Any, strip: Any) -> None:
    nodes = bpy.data.node_groups["Face Blur Picture Space"].nodes
    # The direction that the mask is moved back in.
    turned = next(
        node
        for node in nodes
        if node.bl_idname == "ShaderNodeMath"
        and node.operation == "MULTIPLY"
        and not node.inputs[1].is_linked
        and node.inputs[1].default_value == -1.0
    )
    turned.inputs[1].default_value = 40.0


def _shift(scene: Any, strip: Any) -> None:
    get_modifier(strip).input_mask_strip.transform.offset_x = 90


def _shift_animated(scene: Any, strip: Any) -> None:
    transform = get_modifier(strip).input_mask_strip.transform
    transform.keyframe_insert("offset_x", frame=1)
    transform.offset_x = 300
    transform.keyframe_insert("offset_x", frame=2)


def _replace_file(scene: Any, strip: Any) -> None:
    path = Path(bpy.path.abspath(strip.filepath))
    path.write_bytes(path.read_bytes() + b"more")


BREAKS: list[tuple[Callable[[Any, Any], None], bool]] = [
    (_animate, False),
    (_unlink, True),
    (_mute_node, True),
    (_mute_inner_nodes, True),
    (_change_inner_number, True),
    (lambda scene, strip: get_modifier(strip).node_group.nodes.new("CompositorNodeViewer"), True),
    (lambda scene, strip: setattr(get_modifier(strip), "input_mask_type", "ID"), True),
    (_shift, True),
    (_shift_animated, False),
    (_replace_file, False),
]
NAMES = [
    "mute animated",
    "group unlinked",
    "node muted",
    "inner nodes muted",
    "inner number",
    "viewer",
    "mask by id",
    "mask shifted",
    "mask shift animated",
    "file replaced",
]


@pytest.mark.parametrize(("break_it", "repaired"), BREAKS, ids=NAMES)
def test_a_broken_cover_is_found_rendered_black_and_repaired(
    break_it: Callable[[Any, Any], None], repaired: bool, project: tuple[Any, Any], tmp_path: Path
) -> None:
    scene, strip = project
    assert guard.check_scene(scene) == []
    assert disks.see(disks.render_frame(scene, 10, tmp_path / "before.png")).disk == 0
    break_it(scene, strip)
    faults = guard.check_scene(scene)
    assert faults and faults[0].shows and faults[0].strip == strip.name and "  " not in faults[0].text
    shown = disks.render_frame(scene, 10, tmp_path / "broken.png")
    # Black, or the blue of a cover that is still there, but nothing of the film.
    assert shown[..., :2].max() <= 2, "the film was rendered"
    assert strip.color_multiply == 1.0, "the strip stays black after the render"
    left = guard.repair_strip(scene, strip, EFFECT)
    assert (left == []) == repaired, left
    if repaired:
        seen = disks.see(disks.render_frame(scene, 10, tmp_path / "after.png"))
        assert seen.disk == 0 and seen.cover > 100


def test_an_animation_is_black_in_every_frame(project: tuple[Any, Any], tmp_path: Path) -> None:
    scene, strip = project
    strip.color_multiply = 0.9
    strip.keyframe_insert("color_multiply", frame=1)
    strip.keyframe_insert("color_multiply", frame=9)
    get_modifier(strip).enable = False
    scene.frame_end = 8
    scene.render.filepath = str(tmp_path / "f")
    scene.render.image_settings.media_type = "IMAGE"
    scene.render.image_settings.file_format = "PNG"
    scene.render.compositor_device = "CPU"
    render_animation(scene, lambda written: None)
    import cv2

    pictures = [cv2.imread(str(path)) for path in sorted(tmp_path.glob("f*.png"))]
    assert len(pictures) == 8 and max(int(picture.max()) for picture in pictures) <= 2
    scene.frame_set(5)
    assert strip.color_multiply == pytest.approx(0.9), "the animation stays switched off"


def test_a_face_that_may_show_is_no_fault(project: tuple[Any, Any], tmp_path: Path) -> None:
    scene, strip = project
    mask = get_modifier(strip).input_mask_strip.mask
    mask.layers[-1].hide_render = True
    assert guard.check_scene(scene) == [], "an editor may switch a face off"
    _delete_mask_strip(scene, strip)
    faults = guard.check_scene(scene)
    assert [fault.shows for fault in faults] == [False], "without its mask the whole picture is covered"
    assert guard.repair_strip(scene, strip, EFFECT) == []
    uncover(scene, strip)
    assert guard.check_scene(scene) == [], "an editor uncovered the strip on purpose"
    strip[MUST_BE_COVERED] = True
    assert [fault.text for fault in guard.check_scene(scene)] == ["It has no cover."]
    strip.mute = True
    assert guard.check_scene(scene) == [], "a muted strip is not rendered"


def test_an_inverse_cover_is_a_fault_if_people_stay_visible(film: Path) -> None:
    document = disks.build_document(film)
    scene = build_project(film, document, replace(EFFECT, inverse=True))
    assert guard.check_scene(scene) == []
    document.uncovered.append(
        replace(document.tracks[0], name="Face 02", status=TrackStatus.ALLOWED, allowed_person="Ann")
    )
    scene = build_project(film, document, replace(EFFECT, inverse=True))
    assert [(fault.shows, fault.text[:13]) for fault in guard.check_scene(scene)] == [(True, "Inverse shows")]


def test_a_cover_that_is_off_in_the_preview_is_reported(project: tuple[Any, Any]) -> None:
    scene, strip = project
    modifier = get_modifier(strip)
    if not hasattr(modifier, "show_preview"):
        pytest.skip("from Blender 5.2 on")
    modifier.show_preview = False
    assert [(fault.shows, fault.in_preview) for fault in guard.check_scene(scene)] == [(False, True)]
    assert blackout.black_out(scene) == [] and strip.color_multiply == 1.0
    assert blackout.black_out(scene, of_preview=True) and strip.color_multiply == 0.0
    blackout.restore()
    assert guard.repair_strip(scene, strip, EFFECT) == [] and modifier.show_preview


@pytest.mark.parametrize(("key", "value"), [("fingerprint", None), ("size", "x"), ("analysed", [1, 2, 3]), ("", "x")])
def test_a_cover_that_cannot_be_checked_is_rendered_black(
    key: str, value: object, project: tuple[Any, Any], tmp_path: Path
) -> None:
    """The data of a cover may be invalid in a file from elsewhere or from another version."""
    scene, strip = project
    get_modifier(strip).mute = True
    mask = get_modifier(strip).input_mask_strip.mask
    if not key:
        mask[MARK] = value
    elif value is None:
        del mask[MARK][key]
    else:
        mask[MARK][key] = value
    assert disks.see(disks.render_frame(scene, 20, tmp_path / "seen.png")).disk == 0
    assert [fault.shows for fault in guard.check_scene(scene) if "damaged" in fault.text] == [True]


def test_an_opened_outline_is_found_and_closed_again(project: tuple[Any, Any]) -> None:
    """An open outline lacks a quarter."""
    scene, strip = project
    mask = get_modifier(strip).input_mask_strip.mask
    mask.layers["Face 01"].splines[0].use_cyclic = False
    assert ["fill was changed" in fault.text for fault in guard.check_scene(scene) if fault.shows] == [True]
    assert guard.repair_strip(scene, strip, EFFECT) == [] and mask.layers["Face 01"].splines[0].use_cyclic
    mask.layers["Face 01"].splines[0].use_cyclic = False
    mask[MARK]["faces"]["Face 01"]["freehand"] = True
    assert guard.check_scene(scene) == []


def test_scenes_within_scenes_are_checked(project: tuple[Any, Any]) -> None:
    scene, strip = project
    outer = bpy.data.scenes.new("outer")
    inner = outer.sequence_editor_create().strips.new_scene("inner", scene, 1, 1)
    assert guard.check_scene(outer) == []
    get_modifier(strip).mute = True
    assert [fault.scene for fault in guard.check_scene(outer)] == [scene.name]
    inner.mute = True
    assert guard.check_scene(outer) == []
    bpy.data.scenes.remove(outer)


def test_unreviewed_items_are_faults_only_on_request(film: Path, tmp_path: Path) -> None:
    from blender_faceblur.core.types import ReviewItem, ReviewReason

    document = disks.build_document(film)
    document.review_items.append(ReviewItem(3, 9, (1.0, 2.0, 30.5, 40.0), 0.31, ReviewReason.LOW_CONFIDENCE))
    scene = build_project(film, document, EFFECT)
    texts = [fault.text for fault in guard.check_scene(scene, with_review=True)]
    assert [text for text in texts if "review" in text] == ["1 item has not been reviewed."]
    assert not any("review" in fault.text for fault in guard.check_scene(scene))


def test_the_command_does_not_render_a_scene_that_would_show_faces(project: tuple[Any, Any], tmp_path: Path) -> None:
    from blender_faceblur.blender.command import render_project
    from blender_faceblur.core.types import FaceBlurError
    from blender_faceblur.reporting.progress import Reporter

    scene, strip = project
    get_modifier(strip).mute = True
    scene.render.filepath = str(tmp_path / "out" / "frame")
    with pytest.raises(FaceBlurError, match="'film': Its cover is switched off"):
        render_project(scene, Reporter())
    assert not (tmp_path / "out").exists()


def test_the_operators_check_repair_and_refuse_to_render(project: tuple[Any, Any], tmp_path: Path) -> None:
    import blender_faceblur
    from blender_faceblur.blender.common.jobs import JOB

    scene, strip = project
    handlers.unregister_handlers()
    cover_handlers.unregister_handlers()
    blender_faceblur.register()
    try:
        assert bpy.ops.faceblur.check() == {"FINISHED"} and JOB.faults == []
        get_modifier(strip).mute = True
        bpy.ops.faceblur.check()
        assert [(fault.strip, fault.text) for fault in JOB.faults] == [("film", "Its cover is switched off.")]
        scene.render.filepath = str(tmp_path / "out" / "frame")
        with pytest.raises(RuntimeError, match=r"Not rendered: 'film'[.] Its cover is switched off"):
            bpy.ops.faceblur.render()
        assert not (tmp_path / "out").exists()
        bpy.ops.faceblur.go_to_fault(strip="film")
        assert scene.sequence_editor.active_strip == strip
        bpy.ops.faceblur.repair(strip="film")
        assert JOB.faults == [] and not get_modifier(strip).mute
        scene.frame_end = scene.frame_start + 1
        assert bpy.ops.faceblur.render() == {"FINISHED"} and len(list((tmp_path / "out").iterdir())) == 1
    finally:
        blender_faceblur.unregister()
        cover_handlers.register_handlers()
        handlers.register_handlers()


@pytest.fixture
def extension(project: tuple[Any, Any]) -> Iterator[None]:
    """The whole extension, instead of the handlers of `project`."""
    import blender_faceblur

    handlers.unregister_handlers()
    cover_handlers.unregister_handlers()
    blender_faceblur.register()
    yield
    blender_faceblur.unregister()
    cover_handlers.register_handlers()
    handlers.register_handlers()


def _add_undetected(scene: Any, tmp_path: Path) -> Any:
    """A strip of a second film, above the covered one, in which faces were never detected."""
    path = tmp_path / "other.mp4"
    disks.write_film(path, (160, 90))
    return scene.sequence_editor.strips.new_movie("other", str(path), 9, 1)


def test_a_strip_that_was_never_detected_is_listed_and_not_rendered_if_covered(
    project: tuple[Any, Any], extension: None, tmp_path: Path
) -> None:
    from blender_faceblur.blender.command import render_project
    from blender_faceblur.blender.common.jobs import JOB
    from blender_faceblur.core.types import FaceBlurError
    from blender_faceblur.reporting.progress import Reporter

    scene, _ = project
    other = _add_undetected(scene, tmp_path)
    bpy.ops.faceblur.check()
    assert [(fault.strip, fault.shows, fault.undetected) for fault in JOB.faults] == [("other", True, True)]
    scene.render.filepath = str(tmp_path / "out" / "frame")
    with pytest.raises(RuntimeError, match=r"Not rendered: 'other'[.] Its faces were never detected"):
        bpy.ops.faceblur.render()
    with pytest.raises(FaceBlurError, match="'other': Its faces were never detected"):
        render_project(scene, Reporter())
    assert not (tmp_path / "out").exists()
    bpy.ops.faceblur.leave_uncovered(strip="other")
    assert JOB.faults == []
    bpy.ops.faceblur.check()
    assert JOB.faults == []
    scene.frame_end = scene.frame_start
    assert bpy.ops.faceblur.render() == {"FINISHED"} and (tmp_path / "out").exists()
    for strip in scene.sequence_editor.strips_all:
        strip.select = strip == other
    bpy.ops.faceblur.leave_uncovered()
    bpy.ops.faceblur.check()
    assert [fault.strip for fault in JOB.faults] == ["other"], "the mark was removed"


def test_what_nobody_sees_need_not_be_detected(project: tuple[Any, Any], extension: None, tmp_path: Path) -> None:
    scene, _ = project
    other = _add_undetected(scene, tmp_path)

    def list_undetected() -> list[str]:
        return [fault.strip for fault in guard.check_animation(scene)]

    assert list_undetected() == ["other"]
    channel = scene.sequence_editor.channels[other.channel]
    channel.mute = True
    assert list_undetected() == []
    channel.mute = False
    other.mute = True
    assert list_undetected() == []
    effect = scene.sequence_editor.strips.new_effect("glow", "GLOW", 12, 1, length=10, input1=other)
    assert list_undetected() == ["other"], "an effect strip shows its input, even if that is muted"
    disks.operate(scene, bpy.ops.sequencer.delete, effect)
    other.mute = False
    disks.operate(scene, bpy.ops.sequencer.meta_make, other)
    meta = other.parent_meta()
    assert list_undetected() == ["other"]
    meta.mute = True
    assert list_undetected() == []
    meta.mute = False
    meta.frame_start = scene.frame_end + 1
    assert list_undetected() == []


def test_undetected_strips_are_black_only_if_the_scene_asks_for_it(
    project: tuple[Any, Any], extension: None, tmp_path: Path
) -> None:
    scene, _ = project
    other = _add_undetected(scene, tmp_path)
    other.transform.scale_x = other.transform.scale_y = 2.0
    shown = disks.render_frame(scene, 10, tmp_path / "shown.png")
    assert disks.see(shown).disk > 100, "Render Animation works as it always has"
    scene.faceblur.black_out_undetected = True
    black = disks.render_frame(scene, 10, tmp_path / "black.png")
    assert black.max() <= 2 and other.color_multiply == 1.0
    bpy.ops.faceblur.leave_uncovered(strip="other")
    assert (disks.render_frame(scene, 10, tmp_path / "again.png") == shown).all()


def test_a_scene_that_asks_for_black_strips_gets_them_where_another_scene_shows_it(
    project: tuple[Any, Any], extension: None, tmp_path: Path
) -> None:
    scene, _ = project
    other = _add_undetected(scene, tmp_path)
    outer = bpy.data.scenes.new("outer")
    strips = outer.sequence_editor_create().strips
    strips.new_scene("inner", scene, 1, 1)
    path = tmp_path / "outer.mp4"
    disks.write_film(path, (160, 90))
    strips.new_movie("beside", str(path), 2, 1)
    assert blackout.black_out(outer) == []
    scene.faceblur.black_out_undetected = True
    found = blackout.black_out(outer)
    assert [(fault.scene, fault.strip) for fault in found] == [(scene.name, "other")], "the outer scene does not ask"
    assert other.color_multiply == 0.0
    blackout.restore()
    assert other.color_multiply == 1.0
    scene.faceblur.black_out_undetected, outer.faceblur.black_out_undetected = False, True
    assert {fault.strip for fault in blackout.black_out(outer)} == {"other", "beside"}
    blackout.restore()


def test_the_command_leaves_strips_uncovered_that_it_is_told_to(project: tuple[Any, Any], tmp_path: Path) -> None:
    from blender_faceblur.blender import command
    from blender_faceblur.core.types import FaceBlurError

    scene, _ = project
    _add_undetected(scene, tmp_path)
    options = command.build_strips_parser().parse_args(["--leave-uncovered", "other", "--strips"])
    assert command.choose_strips(scene, options.strips, options.leave_uncovered) == ["film"]
    assert command.choose_strips(scene, []) == ["film", "other"]
    for wanted, left in ((["other"], ["other"]), ([], ["film"])):
        with pytest.raises(FaceBlurError, match="cannot be covered and left uncovered"):
            command.choose_strips(scene, wanted, left)
    with pytest.raises(FaceBlurError, match="There is no strip named 'missing'"):
        command.choose_strips(scene, [], ["missing"])


def test_a_covered_strip_cannot_be_left_uncovered(project: tuple[Any, Any], extension: None) -> None:
    strip = project[1]
    with pytest.raises(RuntimeError, match=r"'film' is covered[.] Remove its cover first"):
        bpy.ops.faceblur.leave_uncovered(strip="film")
    assert get_modifier(strip) is not None and strip[MUST_BE_COVERED]


def test_a_strip_can_be_marked_before_it_is_detected(project: tuple[Any, Any]) -> None:
    import blender_faceblur

    scene, strip = project
    uncover(scene, strip)
    blender_faceblur.register()
    try:
        strip.select = True
        bpy.ops.faceblur.must_be_covered()
        assert [fault.text for fault in guard.check_scene(scene)] == ["It has no cover."]
        bpy.ops.faceblur.must_be_covered()
        assert guard.check_scene(scene) == []
    finally:
        blender_faceblur.unregister()

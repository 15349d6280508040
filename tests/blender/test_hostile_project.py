# SPDX-License-Identifier: GPL-3.0-or-later
"""A project from a stranger: nothing of it runs, no face is rendered, and no data of it ends in a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import bpy
import pytest

import blender_faceblur
from blender_faceblur.blender import command
from blender_faceblur.blender.bake.baking import FOLDER, apply, bake, list_bakeable
from blender_faceblur.blender.bake.orders import KEY
from blender_faceblur.blender.common.jobs import run_to_end
from blender_faceblur.blender.common.marks import BAKED, MARK, get_modifier
from blender_faceblur.blender.cover import compositing, nodes
from blender_faceblur.blender.cover.baked import BakedRecord, compute_stamp, evaluate
from blender_faceblur.blender.cover.compositing import EFFECT_MARK, MASK_MARK
from blender_faceblur.blender.cover.covering import MUST_BE_COVERED, UNCOVERED_ON_PURPOSE
from blender_faceblur.blender.cover.effects import EFFECTS
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.guard import blackout
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.masks.document import get_document_text
from blender_faceblur.blender.masks.record import MaskRecord
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths
from blender_faceblur.sources import compute_fingerprint

from . import disks
from .test_extension import analyses
from .test_faults import BLACK, COVERED, FACE, WHOLE, tell

__all__ = ["analyses"]

EFFECT = EffectSettings("solid", disks.COVER)


@pytest.fixture
def project(extension: None, film: Path) -> tuple[Any, Any]:
    """A covered strip in a scene, with the extension enabled."""
    scene = build_project(film, disks.build_document(film), EFFECT)
    return scene, disks.get_cover(scene)[0]


def use_everything(scene: Any) -> None:
    """Call what an editor would call first. Blender raises what an operator reports as an error."""
    editor = scene.sequence_editor
    for strip in editor.strips_all:
        strip.select = strip.type == "MOVIE"
    editor.active_strip = next(strip for strip in editor.strips_all if strip.type == "MOVIE")
    for name in ("check", "repair", "apply", "unbake", "review_next", "remove"):
        operator = getattr(bpy.ops.faceblur, name)
        reported = ""
        try:
            if operator.poll():
                operator()
        except RuntimeError as error:
            reported = str(error)
        assert "Traceback" not in reported, (name, reported)


def check_nothing_shows(scene: Any, folder: Path, capfd: pytest.CaptureFixture[str], what: str = "") -> None:
    """Render as the project is, then use it and render again what has not been uncovered by the editor."""
    capfd.readouterr()
    assert tell(disks.render_frame(scene, 20, folder / "still.png")) != FACE, what
    path = folder / "hostile.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert tell(disks.render_frame(bpy.context.scene, 20, folder / "still.png")) != FACE, what
    use_everything(bpy.context.scene)
    printed = "".join(capfd.readouterr())
    assert "Traceback" not in printed, f"{what}: {printed}"


def list_blocks(scene: Any, strip: Any) -> dict[str, Any]:
    modifier = get_modifier(strip)
    return {
        "strip": strip,
        "mask": modifier.input_mask_strip.mask,
        "group": modifier.node_group,
        "effect": next(tree for tree in bpy.data.node_groups if tree.get(MARK) == "solid"),
    }


PROPERTIES = [
    ("mask", MARK),
    ("mask", f"{MARK}_tracks"),
    ("mask", KEY),
    ("group", MARK),
    ("group", EFFECT_MARK),
    ("group", MASK_MARK),
    ("effect", MARK),
    ("strip", BAKED),
    ("strip", blackout.BLACKED_OUT),
    ("strip", MUST_BE_COVERED),
    ("strip", UNCOVERED_ON_PURPOSE),
]
VALUES: dict[str, Callable[[Any], Any]] = {
    "a number": lambda scene: 2**31 - 1,
    "not a number": lambda scene: float("nan"),
    "a path": lambda scene: "../../../../etc/passwd",
    "a word that is our mark": lambda scene: MARK,
    "bytes": lambda scene: b"\xff\xfe\x00",
    "a scene": lambda scene: scene,
    "a text": lambda scene: bpy.data.texts.new("stranger"),
    "numbers": lambda scene: [1e308, -1e308, 0.0],
    "words": lambda scene: ["a", "b"],
    "groups": lambda scene: {"mask": scene, "group": scene, "kind": {"kind": 3}, "faces": {"x": {"keys": "y"}}},
    "deep": lambda scene: nest(60),
}


def nest(depth: int) -> dict[str, Any]:
    return {"faces": nest(depth - 1)} if depth else {}


@pytest.mark.parametrize("value", VALUES)
def test_no_property_of_a_wrong_type_shows_a_face(
    value: str, project: tuple[Any, Any], film: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for block, key in PROPERTIES:
        scene = build_project(film, disks.build_document(film), EFFECT)
        list_blocks(scene, disks.get_cover(scene)[0])[block][key] = VALUES[value](scene)
        check_nothing_shows(scene, tmp_path, capfd, f"{block}, {key}")


DOCUMENTS = {
    "empty": "",
    "a brace": "{",
    "deep": "[" * 200_000,
    "huge numbers": '{"schema": "x", "margin": ' + "9" * 10_000 + "}",
    "surrogates": json.dumps({"schema": "\ud800", "tracks": ["\udfff"]}),
    "wrong types": json.dumps({"schema": ["x"], "source": 3, "tracks": {"a": [1e400]}}),
}


@pytest.mark.parametrize("content", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_no_tracks_document_ends_in_a_traceback(
    content: str, project: tuple[Any, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene, strip = project
    text = get_document_text(list_blocks(scene, strip)["mask"])
    assert text is not None
    text.from_string(content)
    check_nothing_shows(scene, tmp_path, capfd)


def _get_ends(tree: Any) -> tuple[Any, Any]:
    source = next(node for node in tree.nodes if node.bl_idname == "NodeGroupInput")
    return source, next(node for node in tree.nodes if node.bl_idname == "NodeGroupOutput")


def show_all_in_picture_space(scene: Any, strip: Any) -> None:
    """White instead of the mask."""
    tree = bpy.data.node_groups[compositing.PICTURE_SPACE]
    result = _get_ends(tree)[1]
    white = tree.nodes.new("CompositorNodeRGB")
    white.outputs[0].default_value = (1.0, 1.0, 1.0, 1.0)
    tree.links.new(white.outputs[0], result.inputs[0])
    tree["faceblur_signature"] = nodes.sign(tree)


def show_all_by_a_value(scene: Any, strip: Any) -> None:
    """The links stay, and a value moves the mask out of the picture."""
    tree = bpy.data.node_groups[compositing.PICTURE_SPACE]
    switch = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeSwitch" or "Switch" in node.bl_idname)
    switch.inputs[1].default_value = (1.0, 1.0, 1.0, 1.0)
    scaled = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeScale")
    for link in [link for link in tree.links if link.to_node == scaled and link.to_socket.name in ("X", "Y")]:
        tree.links.remove(link)
    for name in ("X", "Y"):
        scaled.inputs[name].default_value = 0.02
    tree["faceblur_signature"] = nodes.sign(tree)


def mix_picture_with_itself(scene: Any, strip: Any) -> None:
    """In the strip's own group, with a node between, so that nothing is passed through directly."""
    tree = get_modifier(strip).node_group
    source = _get_ends(tree)[0]
    mixed = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeMix")
    same = tree.nodes.new("CompositorNodeExposure")
    tree.links.new(source.outputs["Image"], same.inputs["Image"])
    tree.links.new(same.outputs[0], next(s for s in mixed.inputs if s.identifier == "A_Color"))


def pass_on_in_solid(scene: Any, strip: Any) -> None:
    """Solid shows the picture, with a node between."""
    tree = bpy.data.node_groups["Face Blur Solid"]
    source, result = _get_ends(tree)
    same = tree.nodes.new("CompositorNodeExposure")
    tree.links.new(source.outputs["Image"], same.inputs["Image"])
    tree.links.new(same.outputs[0], result.inputs[0])


def use_another_group(scene: Any, strip: Any) -> None:
    """A group with our mark and name that holds nothing of ours."""
    tree = nodes.new_group("Face Blur Picture Space")
    tree[MARK] = "picture space 2"
    nodes.add_input(tree, "Image", "Color")
    nodes.add_input(tree, "Mask", "Color")
    nodes.add_input(tree, "Unit", "Float")
    nodes.add_output(tree, "Shown", "Color")
    result = nodes.add_node(tree, "NodeGroupOutput", 1)
    result.inputs[0].default_value = (1.0, 1.0, 1.0, 1.0)
    group = get_modifier(strip).node_group
    place = next(n for n in group.nodes if n.bl_idname == "CompositorNodeGroup" and "Unit" in n.inputs)
    unit = place.inputs["Unit"].default_value
    place.node_tree = tree
    place.inputs["Unit"].default_value = unit


def pass_on_in_an_effect(scene: Any, strip: Any, halvings: int = 3) -> None:
    """A group with an effect's name and mark that passes the picture on, with a node between."""
    tree = nodes.new_group(f"Face Blur Mosaic 1/{2**halvings}")
    tree[MARK] = f"mosaic {halvings}"
    nodes.add_input(tree, "Image", "Color")
    nodes.add_output(tree, "Image", "Color")
    source = nodes.add_node(tree, "NodeGroupInput", 0)
    same = nodes.add_node(tree, "CompositorNodeExposure", 1, Image=source.outputs["Image"])
    result = nodes.add_node(tree, "NodeGroupOutput", 2)
    nodes.put(tree, result.inputs["Image"], same.outputs[0])
    _use_effect(strip, tree)


def pass_on_in_a_group_of_an_effect(scene: Any, strip: Any) -> None:
    """The same, with a group between."""
    pass_on_in_an_effect(scene, strip)
    inside = next(tree for tree in bpy.data.node_groups if str(tree.get(MARK)).startswith("mosaic"))
    del inside[MARK]
    inside.name = "Nice Blur"
    tree = nodes.new_group("Face Blur Blur 1/8")
    tree[MARK] = "blur 3"
    nodes.add_input(tree, "Image", "Color")
    nodes.add_output(tree, "Image", "Color")
    source = nodes.add_node(tree, "NodeGroupInput", 0)
    middle = nodes.add_node(tree, "CompositorNodeGroup", 1)
    middle.node_tree = inside
    nodes.put(tree, middle.inputs["Image"], source.outputs["Image"])
    # Straight through would be found anyway.
    same = nodes.add_node(tree, "CompositorNodeExposure", 2, Image=middle.outputs[0])
    result = nodes.add_node(tree, "NodeGroupOutput", 3)
    nodes.put(tree, result.inputs["Image"], same.outputs[0])
    _use_effect(strip, tree)


def _use_effect(strip: Any, tree: Any) -> None:
    """Put a group in the place of the strip's effect."""
    group = get_modifier(strip).node_group
    cover = next(n for n in group.nodes if n.bl_idname == "CompositorNodeGroup" and "Unit" not in n.inputs)
    target = next(link.to_socket for link in group.links if link.from_node == cover)
    source = _get_ends(group)[0]
    cover.node_tree = tree
    group.links.new(source.outputs["Image"], cover.inputs["Image"])
    group.links.new(cover.outputs["Image"], target)


CHANGED_GROUPS = [
    pass_on_in_an_effect,
    pass_on_in_a_group_of_an_effect,
    show_all_in_picture_space,
    show_all_by_a_value,
    mix_picture_with_itself,
    pass_on_in_solid,
    use_another_group,
]


@pytest.mark.parametrize("change", CHANGED_GROUPS, ids=lambda change: str(change.__name__))
def test_a_group_that_pretends_to_be_ours_renders_black_and_is_not_used_again(
    change: Callable[[Any, Any], None], project: tuple[Any, Any], tmp_path: Path
) -> None:
    scene, strip = project
    change(scene, strip)
    with disks.without_guard():
        assert tell(disks.render_frame(scene, 20, tmp_path / "plain.png")) == FACE, "the attack does nothing"
    assert tell(disks.render_frame(scene, 20, tmp_path / "guarded.png")) == BLACK
    assert [fault.repair for fault in guard.check_scene(scene) if fault.shows] == [True]
    assert guard.repair_strip(scene, strip, EFFECT) == []
    assert tell(disks.render_frame(scene, 20, tmp_path / "repaired.png")) == COVERED


@pytest.mark.parametrize("change", CHANGED_GROUPS, ids=lambda change: str(change.__name__))
def test_the_command_shows_no_face_in_a_project_with_such_a_group(
    change: Callable[[Any, Any], None],
    project: tuple[Any, Any],
    tmp_path: Path,
    analyses: list[Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Detection covers the strip again, in a file whose groups are a stranger's."""
    scene, strip = project
    change(scene, strip)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    code = command.run(["--strips", "--color", disks.COVER, "--preset", "fast"])
    printed = capfd.readouterr()
    assert "Traceback" not in printed.err and code in (0, 1)
    assert tell(disks.render_frame(bpy.context.scene, 20, tmp_path / "after.png")) in (COVERED, WHOLE, BLACK)


def test_every_group_that_is_built_is_known() -> None:
    """Otherwise the guard would take our own groups for changed ones."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert compositing.is_intact(compositing.ensure_picture_space())
    assert compositing.is_intact(compositing.ensure_inverse())
    for effect in EFFECTS:
        for inverse in (False, True):
            for has_alpha in (False, True):
                settings = EffectSettings(effect.name, inverse=inverse)
                group = compositing.build_strip_group("x", (320, 180), 320.0, 40.0, settings, has_alpha)
                assert compositing.is_intact(group), (effect.name, inverse, has_alpha)


def test_the_names_of_baked_films_do_not_come_from_the_file(project: tuple[Any, Any], tmp_path: Path) -> None:
    scene, strip = project
    outside = tmp_path / "outside"
    folder = tmp_path / "inside"
    outside.mkdir()
    folder.mkdir()
    list_blocks(scene, strip)["mask"][KEY] = "../../outside/x"
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "project.blend"))
    made = run_to_end(bake(list_bakeable(scene)))
    assert [film.path.parent for film in made.films] == [folder / FOLDER]
    assert list(outside.iterdir()) == []


def test_an_effect_takes_no_private_file_into_the_project(project: tuple[Any, Any], tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("a private key", encoding="utf-8")
    assert compositing.get_sticker(str(secret)) is None
    assert not any(image.packed_file for image in bpy.data.images)


SCRIPT = "open({!r}, 'w').close()"


def test_no_script_of_a_project_runs(project: tuple[Any, Any], tmp_path: Path) -> None:
    """Neither in this process nor in the Blender that evaluates masks for Bake."""
    scene, strip = project
    ran = tmp_path / "ran"
    text = bpy.data.texts.new("stranger.py")
    text.from_string(SCRIPT.format(str(ran)))
    text.use_module = True
    for block, name in ((list_blocks(scene, strip)["mask"].layers[0], "alpha"), (strip, "blend_alpha")):
        driver = block.driver_add(name).driver
        driver.type, driver.expression = "SCRIPTED", f"1.0 if open({str(ran)!r}, 'w') else 1.0"
    path = tmp_path / "project.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    ran.unlink(missing_ok=True)
    bpy.ops.wm.open_mainfile(filepath=str(path), use_scripts=False)
    scene = bpy.context.scene
    assert tell(disks.render_frame(scene, 20, tmp_path / "still.png")) != FACE
    with suppress(FaceBlurError):
        run_to_end(bake(list_bakeable(scene)))
    assert not ran.exists()


def test_a_linked_mask_ends_in_no_traceback(
    project: tuple[Any, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene, strip = project
    mask_strip = get_modifier(strip).input_mask_strip
    library = tmp_path / "library.blend"
    name = mask_strip.mask.name
    bpy.data.libraries.write(str(library), {mask_strip.mask}, fake_user=True)
    with bpy.data.libraries.load(str(library), link=True) as (_, loaded):
        loaded.masks = [name]
    linked = loaded.masks[0]
    linked_name = linked.name
    own = mask_strip.mask
    mask_strip.mask = linked
    bpy.data.masks.remove(own)
    assert bpy.data.masks[linked_name].library is not None
    bpy.context.view_layer.update()
    check_nothing_shows(scene, tmp_path, capfd)


def test_disabling_the_extension_in_a_hostile_project_works(project: tuple[Any, Any]) -> None:
    _, strip = project
    strip[blackout.BLACKED_OUT] = "x"
    blender_faceblur.unregister()
    blender_faceblur.register()
    assert blackout.BLACKED_OUT not in strip


def forge_record(scene: Any, strip: Any, film: Path, **changes: Any) -> None:
    """Mark a strip as baked, with a record that agrees with the film that it shows, whose faces are not covered."""
    modifier = get_modifier(strip)
    mask, group = get_mask(strip), modifier.node_group
    shown = compute_fingerprint(film)
    record = BakedRecord(
        mask=mask,
        group=group,
        key="0" * 32,
        source=str(MaskRecord.load(mask).fingerprint),
        frames=disks.FRAMES,
        film=shown,
        outlines=evaluate(mask, disks.FRAMES),
        stamp=compute_stamp(mask, group),
        place=0,
        use_proxy=False,
    )
    modifier.node_group = None
    strip.modifiers.remove(modifier)
    for name, value in changes.items():
        setattr(record, name, value)
    strip.filepath = str(film)
    record.save(strip)


FORGED: dict[str, dict[str, Any]] = {
    "the source itself": {},
    "the source with another name for it": {"source": "0" * 64},
    "without a mask": {"mask": None, "source": "0" * 64},
    "without an effect": {"group": None, "source": "0" * 64},
    "without both": {"mask": None, "group": None, "source": "0" * 64},
}


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED.keys())
def test_a_forged_record_of_a_bake_renders_black(
    changes: dict[str, Any], project: tuple[Any, Any], film: Path, tmp_path: Path
) -> None:
    scene, strip = project
    forge_record(scene, strip, film, **changes)
    with disks.without_guard():
        assert tell(disks.render_frame(scene, 20, tmp_path / "plain.png")) == FACE, "the attack does nothing"
    assert tell(disks.render_frame(scene, 20, tmp_path / "guarded.png")) == BLACK
    assert [fault.shows for fault in guard.check_scene(scene)] == [True]


def test_a_record_of_a_bake_on_another_computer_is_reported(
    project: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in a project can prove that a film has its covers. Only the computer that made it knows."""
    monkeypatch.setattr(paths._INSTALLATION, "user_folder", tmp_path / "user")
    (tmp_path / "user").mkdir()
    scene, _ = project
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    made = run_to_end(bake(list_bakeable(scene)))
    assert apply(made)[1] == []
    assert guard.check_scene(scene) == []
    monkeypatch.setattr(paths._INSTALLATION, "user_folder", tmp_path / "other user")
    faults = guard.check_scene(scene)
    assert [fault.shows for fault in faults] == [False] and "another computer" in faults[0].text
    assert tell(disks.render_frame(scene, 20, tmp_path / "still.png")) == COVERED

# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b --command faceblur`: the command line inside Blender, for files or for the strips of a project."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..batch import cli
from ..batch.options import (
    CommandParser,
    add_detection_options,
    add_message_options,
    add_people_options,
    list_objects,
)
from ..core.cover.effects import EffectSettings
from ..core.review.groups import count_left
from ..core.tracking.objects import choose_classes
from ..core.translation import count
from ..core.types import FaceBlurError
from ..files.paths import check_models
from ..reporting.progress import Outcome, Reporter, Totals, choose_reporter
from .bake.baking import FOLDER, bake, list_bakeable, list_quicker_baked
from .bake.baking import apply as apply_bake
from .bake.orders import ensure_key
from .common.context import get_sequencer_scene
from .common.footage import KINDS
from .common.jobs import Step, run_to_end
from .common.marks import get_modifier
from .cover.baked import is_baked
from .cover.covering import leave_uncovered
from .cover.strips import get_mask, sync_mask_strips
from .detection.detect import DetectionSettings, cover_found, detect
from .export.timeline import export_timeline
from .guard.checks import check_animation
from .people.decisions import apply_known
from .rendering.render import render_animation

PROGRAM = "blender -b --command faceblur"


@dataclass(slots=True)
class _CommandHandle:
    """Blender's handle for our command; set while the extension is enabled."""

    handle: Any = None


_COMMAND = _CommandHandle()


def register() -> None:
    _COMMAND.handle = bpy.utils.register_cli_command("faceblur", run)


def unregister() -> None:
    if _COMMAND.handle is not None:
        bpy.utils.unregister_cli_command(_COMMAND.handle)
        _COMMAND.handle = None


def run(arguments: list[str]) -> int:
    """Run the command and return its exit code. With --strips it works on the project that Blender has opened."""
    try:
        if "--strips" in arguments:
            return blur_strips(arguments)
        blender = Path(bpy.app.binary_path) if bpy.app.binary_path else None
        return cli.main(arguments, PROGRAM, blender)
    except SystemExit as end:
        # argparse exits after --help and wrong usage; Blender would report that as a crash.
        return end.code if isinstance(end.code, int) else cli.USAGE


def build_strips_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="blender -b PROJECT.blend --command faceblur",
        description="Cover the faces in strips of a project, and save the project.",
        epilog="exit codes: 0 success, 1 something failed, 2 wrong usage, 130 interrupted",
    )
    parser.add_argument(
        "--strips",
        nargs="*",
        required=True,
        metavar="NAME",
        help="the strips to cover; without names, all movie and image strips",
    )
    parser.add_argument(
        "--leave-uncovered",
        nargs="+",
        default=[],
        metavar="NAME",
        help="strips in which nothing has to be covered; --render refuses other strips that are not detected",
    )
    parser.add_argument("--render", action="store_true", help="also render the project with its own settings")
    parser.add_argument(
        "--bake",
        action="store_true",
        help="also paint the covers into films beside the project, which the strips then show",
    )
    parser.add_argument(
        "--timeline",
        type=Path,
        metavar="FILE.otio",
        help="also write the timeline as an OpenTimelineIO file; with --bake, or if all strips are baked",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --timeline")
    parser.add_argument(
        "--renderer",
        choices=("direct", "blender"),
        default="direct",
        help="with --render, bake the covers for the render if that is quicker (default), or let Blender cover "
        "every frame",
    )
    add_detection_options(parser)
    add_people_options(parser)
    add_message_options(parser)
    return parser


def blur_strips(arguments: list[str]) -> int:
    """Detect and cover faces, then save the project and render it with --render.

    Nothing is saved or rendered unless every strip could be covered.
    """
    options = build_strips_parser().parse_args(arguments)
    cli.prepare_process()
    reporter = choose_reporter(options.quiet, options.json)
    try:
        scene = _get_scene()
        cli.check_detectors(options)
        names = choose_strips(scene, options.strips, options.leave_uncovered, options.timeline is not None)
        if options.timeline is not None and names and not options.bake:
            raise FaceBlurError("--timeline needs --bake, because it refers to baked films.")
        for one in choose_classes(list_objects(options)):
            check_models(one.list_weights())
        image = cli.get_image(options)
        recognition = cli.open_people(options)
        if options.inverse and recognition is not None:
            raise FaceBlurError(
                "With --inverse, all faces in a project's strips stay visible. Leave out --keep and --people."
            )
    except FaceBlurError as error:
        print(error, file=sys.stderr)
        return cli.USAGE
    effect = EffectSettings(options.effect, options.color, image=str(image or ""), inverse=options.inverse)
    try:
        settings = DetectionSettings(options.preset, options.margin, options.provider, tuple(list_objects(options)))
        if names and not _detect_and_cover(scene, names, settings, effect, reporter):
            print("Nothing was saved.", file=sys.stderr)
            return cli.SOME_FAILED
        if recognition is not None:
            applied = apply_known(scene, names, recognition, reporter.show_progress)
            if not (options.quiet or options.json):
                print(f"{applied.clear} of {count(applied.tracks, 'face')} stay visible", flush=True)
        for name in options.leave_uncovered:
            leave_uncovered(scene.sequence_editor.strips_all[name], True)
        _save()
        if recognition is not None:
            recognition.save()
        _bake_and_render(scene, names, options, reporter)
    except FaceBlurError as error:
        print(error, file=sys.stderr)
        return cli.SOME_FAILED
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return cli.INTERRUPTED
    return cli.ALL_WELL


def _bake_and_render(scene: bpy.types.Scene, names: list[str], options: argparse.Namespace, reporter: Reporter) -> None:
    """Do what --bake, --timeline and --render ask for."""
    if options.bake:
        _bake(scene, names, reporter)
        _save()
    if options.timeline is not None:
        exported = export_timeline(scene, options.timeline.absolute(), options.overwrite)
        for note in exported.notes:
            reporter.warn(note)
    if options.render:
        if options.renderer == "direct":
            _bake_for_render(scene, reporter)
        render_project(scene, reporter)


def _bake(scene: bpy.types.Scene, names: list[str], reporter: Reporter) -> None:
    """Bake the covers of these strips, and again those that were changed since they were baked. Raises FaceBlurError
    unless all of them are baked."""
    chosen = [strip for strip in list_bakeable(scene) if strip.name in names or is_baked(strip)]
    result = run_to_end(
        bake(chosen),
        lambda step: reporter.show_progress(step.stage, step.done, step.total),
    )
    for note in dict.fromkeys(result.notes):
        reporter.warn(note)
    problems = apply_bake(result)[1]
    if problems:
        raise FaceBlurError(" ".join(problems))


def _bake_for_render(scene: bpy.types.Scene, reporter: Reporter) -> None:
    """Bake the covers in memory if the render is quicker then; the saved project keeps its masks and effects."""
    strips = list_quicker_baked(scene)
    if not strips:
        return
    reporter.warn(
        f"The covers of {count(len(strips), 'strip')} are baked first, because the render is quicker then. The films "
        f"stay in the folder {FOLDER} for the next render. --renderer blender renders without them."
    )
    try:
        for strip in strips:
            ensure_key(get_mask(strip))
        # With the keys, so that the next render finds the films.
        _save()
        _bake(scene, [strip.name for strip in strips], reporter)
    except FaceBlurError as error:
        reporter.warn(f"Blender renders the covers, because they cannot be baked: {error}")


def render_project(scene: bpy.types.Scene, reporter: Reporter) -> None:
    """Render the scene's frame range to its output path.

    Raises FaceBlurError unless every frame was written, and before rendering if a face would show, or if faces were
    never detected in a strip that is not left uncovered on purpose.
    """
    for problem in sync_mask_strips(scene):
        reporter.warn(problem)
    faults = [fault for fault in check_animation(scene) if fault.shows]
    if faults:
        raise FaceBlurError(
            "Nothing was rendered, because faces would show. "
            + " ".join(f"'{fault.strip}': {fault.text}" for fault in faults)
        )
    total = len(range(scene.frame_start, scene.frame_end + 1, scene.frame_step))
    # Without a display there may be no GPU, and Blender exits at once if it needs one that is missing.
    device, scene.render.compositor_device = scene.render.compositor_device, "CPU"
    try:
        render_animation(scene, lambda written: reporter.show_progress("render", written, total))
    except RuntimeError as error:
        raise FaceBlurError(f"Blender could not render: {error}") from error
    finally:
        scene.render.compositor_device = device
    if scene.render.image_settings.media_type == "IMAGE" and not scene.render.use_multiview:
        _check_pictures(scene)


def _check_pictures(scene: bpy.types.Scene) -> None:
    """Raise FaceBlurError if a picture is missing: on a full disk Blender still reports success (5.0.1, 5.2.2)."""
    written = {
        Path(bpy.path.abspath(scene.render.frame_path(frame=frame)))
        for frame in range(scene.frame_start, scene.frame_end + 1, scene.frame_step)
    }
    empty = sorted(path.name for path in written if not path.is_file() or not path.stat().st_size)
    if empty:
        raise FaceBlurError(
            f"{len(empty)} of the rendered pictures are missing or empty, starting with {empty[0]}. Check the free "
            "space on the disk and render again."
        )


def _detect_and_cover(
    scene: bpy.types.Scene, names: list[str], settings: DetectionSettings, effect: EffectSettings, reporter: Reporter
) -> bool:
    """Detect and cover the strips; whether all of them were covered."""
    began = time.monotonic()
    started = 0

    def report_step(step: Step) -> None:
        nonlocal started
        if step.number != started:
            started = step.number
            reporter.start(Path(step.strip), step.number, step.count)
        reporter.show_progress(step.stage, step.done, step.total)

    results = run_to_end(detect(scene, names, settings), report_step)
    problems = cover_found(scene, results, effect)
    totals = Totals()
    for found in results:
        for note in found.notes:
            reporter.warn(note)
        outcome = Outcome(found.footage.path, "failed", reason=found.problem)
        if found.document is not None:
            outcome = Outcome(
                found.footage.path,
                "done",
                faces=len(found.document.tracks),
                review_items=count_left(found.document),
                frames=found.document.source.frame_count,
                seconds=time.monotonic() - began,
                warnings=tuple(found.notes),
            )
        reporter.finish(outcome)
        totals.add(outcome)
    for problem in problems:
        if problem not in (found.problem for found in results):
            print(problem, file=sys.stderr)
    reporter.summarize(totals)
    return not problems


def _get_scene() -> bpy.types.Scene:
    if not bpy.data.filepath:
        raise FaceBlurError("--strips needs a project: blender -b PROJECT.blend --command faceblur --strips")
    scene = get_sequencer_scene(bpy.context)
    if scene is None:
        with_strips = [scene for scene in bpy.data.scenes if scene.sequence_editor is not None]
        if len(with_strips) != 1:
            raise FaceBlurError(f"{bpy.data.filepath}: the scene has no strips.")
        scene = with_strips[0]
    return scene


def choose_strips(
    scene: bpy.types.Scene, wanted: list[str], left: Sequence[str] = (), may_be_none: bool = False
) -> list[str]:
    """The names of the strips to cover: those in `wanted`, or else all that are not in `left`. Raises FaceBlurError.

    With `may_be_none`, there may be nothing left to cover, because all strips are baked.
    """
    there = {strip.name: strip for strip in scene.sequence_editor.strips_all}
    for name in (*wanted, *left):
        if name not in there:
            raise FaceBlurError(f"There is no strip named '{name}'. Strips in the scene: {', '.join(there) or 'none'}.")
        if there[name].type not in KINDS:
            raise FaceBlurError(f"'{name}' is not a movie or image strip.")
        if is_baked(there[name]):
            raise FaceBlurError(f"'{name}' is baked. Unbake it in Blender to detect its faces again.")
    for name in left:
        if name in wanted or get_modifier(there[name]) is not None:
            raise FaceBlurError(f"'{name}' cannot be covered and left uncovered.")
    names = wanted or [
        name for name, strip in there.items() if strip.type in KINDS and not is_baked(strip) and name not in left
    ]
    if not names and not (may_be_none and any(is_baked(strip) for strip in there.values())):
        raise FaceBlurError(f"{bpy.data.filepath}: the scene has no movie or image strips.")
    return names


def _save() -> None:
    try:
        bpy.ops.wm.save_mainfile()
    except RuntimeError as error:
        raise FaceBlurError(f"{bpy.data.filepath} could not be saved: {str(error).strip()}") from error

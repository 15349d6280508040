# SPDX-License-Identifier: GPL-3.0-or-later
"""Export covered footage: bake the covers into films, and make a copy of the project that shows these films instead.

This is for editors who pass a project on: the copy has no modifier that could be switched off, and no longer refers to
any covered source. The project itself does not change: masks are evaluated, films painted and the copy changed in other
processes, on temporary files in the output folder.
"""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from ...batch.rendering import run_blender_job
from ...core.translation import translate
from ...core.types import FaceBlurError
from ...files.baked import recall_source
from ...files.workplace import Workplace, place_file
from ..bake.baking import show_footage
from ..bake.films import PaintedFootage, Painting, paint_orders, run_in_thread
from ..bake.orders import BakeOrder, make_order, read_written
from ..common.footage import Footage, get_footage, get_shown_footage
from ..common.jobs import Step
from ..common.marks import BAKED, MARK, get_modifier
from ..correction.edit_masks import get_helper
from ..cover.baked import BakedRecord, is_baked
from ..cover.covering import MUST_BE_COVERED, UNCOVERED_ON_PURPOSE, find_lost_mask
from ..cover.strips import get_mask, remove_strip
from ..guard.checks import asks_for_review, check_strip
from ..masks.document import get_document_text
from ..masks.record import has_record, list_own_masks
from ..rendering.project import CACHE_MB

OWN_MARK = ".covered"
"""Comes before the ending in the names of exported files."""


@dataclass(slots=True)
class Exported:
    """The result of an export. `notes` are sentences for the user."""

    project: Path
    films: list[Path]
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Film:
    """A film or pictures to be delivered, and the strips (scene, name) that will show them."""

    shown: Footage
    """What the strips show in the open project: the source, or what was baked."""
    order: BakeOrder | None
    """What has to be painted; None if it is baked already."""
    output: Path
    """Of a film that is painted, its ending is known afterwards. The folder of a sequence."""
    names: tuple[str, ...]
    """The names of a sequence's pictures in that folder."""
    strips: list[tuple[str, str]] = field(default_factory=list)

    def is_at(self, path: Path) -> bool:
        """Whether what the strips show lies at an existing path."""
        return self.shown.path.exists() and path.samefile(self.shown.path)


def export_covered(
    folder: Path, overwrite: bool = False, wait_s: float | None = None
) -> Generator[Step | None, None, Exported]:
    """Make a film of each covered source, and a copy of the project that shows the films, in `folder`.

    Yields the progress, and with `wait_s` None whenever nothing has happened for that long. Closing the generator stops
    the export and leaves only complete films behind. Raises FaceBlurError if faces would show or a part fails.
    """
    films = _plan(folder)
    project = folder / f"{Path(bpy.data.filepath).stem or 'Untitled'}{OWN_MARK}.blend"
    _check_places(project, films, overwrite)
    orders = {id(film.order): film for film in films if film.order is not None}

    def deliver(made: PaintedFootage) -> None:
        _deliver(orders[id(made.order)], made.footage, overwrite, place_file)

    painting = Painting(deliver)
    with Workplace() as workplace:
        copy, finished = (workplace.name_part(project, ".blend") for _ in range(2))
        _save_copy(copy)
        if orders:
            ordered = [film.order for film in films if film.order is not None]
            pieces = workplace.make_part_folder(project)
            yield from paint_orders(ordered, painting, folder, pieces, workplace, wait_s)
        for film in films:
            if film.order is None:
                part = workplace.make_part_folder(film.output)
                _deliver(film, film.shown, overwrite, lambda *places, part=part: _copy_file(part, *places))
        with closing(_finish(films, copy, finished, workplace, painting.notes, wait_s)) as steps:
            yield from steps
        place_file(finished, project, overwrite)
    return Exported(project, [film.output for film in films], list(dict.fromkeys(painting.notes)))


def _plan(folder: Path) -> list[_Film]:
    """The films to be made: one for all strips that show the same file with the same cover."""
    films: dict[tuple[Footage, str, str], _Film] = {}
    taken: set[str] = set()
    for scene in bpy.data.scenes:
        for strip in scene.sequence_editor.strips_all if scene.sequence_editor is not None else ():
            modifier = get_modifier(strip) if hasattr(strip, "modifiers") else None
            if modifier is None and not is_baked(strip) and not strip.get(MUST_BE_COVERED):
                continue
            if scene.library is not None:
                raise FaceBlurError(
                    translate(
                        "'{name}' is in the linked scene '{scene}', which cannot be exported. Make the scene local "
                        "first.",
                        name=strip.name,
                        scene=scene.name,
                    )
                )
            for fault in check_strip(scene, strip, asks_for_review()):
                if fault.shows:
                    raise FaceBlurError(
                        translate("'{name}' would show faces: {text}", name=strip.name, text=fault.text)
                    )
            film = (
                _plan_baked(folder, strip, taken, films)
                if is_baked(strip)
                else _plan_covered(folder, strip, taken, films)
            )
            film.strips.append((scene.name, strip.name))
            if film.order is not None:
                film.order.strips.append((scene.name, strip.name))
    if not films:
        raise FaceBlurError("There is no covered strip.")
    return list(films.values())


def _plan_covered(
    folder: Path, strip: bpy.types.Strip, taken: set[str], films: dict[tuple[Footage, str, str], _Film]
) -> _Film:
    footage, modifier = get_footage(strip), get_modifier(strip)
    if len(set(footage.files)) != len(footage.files):
        raise FaceBlurError(
            translate("'{name}' shows a picture more than once, which cannot be exported.", name=strip.name)
        )
    mask = get_mask(strip) or find_lost_mask(strip)
    if modifier is None or mask is None:
        raise FaceBlurError(translate("'{name}' has lost its mask. Detect its faces again.", name=strip.name))
    key = footage, modifier.node_group.name, mask.name
    if key not in films:
        order = make_order(strip, footage, read_written(strip), mask, modifier.node_group)
        order.strips.clear()
        films[key] = _Film(footage, order, _name_output(folder, footage.path, taken), footage.files)
    return films[key]


def _plan_baked(
    folder: Path, strip: bpy.types.Strip, taken: set[str], films: dict[tuple[Footage, str, str], _Film]
) -> _Film:
    """The film of a baked strip is up to date, as the guard has checked."""
    footage, known = get_shown_footage(strip), recall_source(BakedRecord.load(strip).key)
    key = footage, "", ""
    if key not in films:
        stem = known.path.stem if known is not None else footage.path.stem
        output = _name_output(folder, footage.path.with_name(f"{stem}{footage.path.suffix}"), taken)
        files = known.files if known is not None else ()
        is_named = len(files) == len(footage.files) == len(set(files))
        films[key] = _Film(footage, None, output, files if is_named else footage.files)
    return films[key]


def _name_output(folder: Path, source: Path, taken: set[str]) -> Path:
    """A path that differs from the other films' even on a file system that ignores case."""
    stem, number = source.stem, 1
    while stem.casefold() in taken:
        number += 1
        stem = f"{source.stem} {number}"
    taken.add(stem.casefold())
    return folder / f"{stem}{OWN_MARK}{source.suffix}"


def _check_places(project: Path, films: list[_Film], overwrite: bool) -> None:
    """Check that the output can be written, before hours are spent. Raises FaceBlurError."""
    try:
        project.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaceBlurError(
            translate(
                "The folder {parent} cannot be created: {strerror}.", parent=project.parent, strerror=error.strerror
            )
        ) from error
    if bpy.data.filepath and project.exists() and project.samefile(bpy.data.filepath):
        raise FaceBlurError("The export would overwrite this project. Choose another folder.")
    # The ending of a film depends on its sound and is not known yet.
    names = [
        project.name,
        *(
            glob.escape(film.output.name if film.names else film.output.stem) + ("" if film.names else ".*")
            for film in films
        ),
    ]
    there = [path for name in names for path in sorted(project.parent.glob(name))]
    if there and not overwrite:
        raise FaceBlurError(translate("{there} already exists. Choose another folder, or Overwrite.", there=there[0]))
    for path in there:
        for film in films:
            if film.is_at(path):
                raise FaceBlurError(
                    translate(
                        "The export would overwrite {path}, a source of this project. Choose another folder.", path=path
                    )
                )


def _save_copy(path: Path) -> None:
    try:
        bpy.ops.wm.save_as_mainfile(
            filepath=str(path), copy=True, check_existing=False, compress=True, relative_remap=True
        )
    except RuntimeError as error:
        raise FaceBlurError(
            translate("A copy of the project cannot be saved: {value}", value=str(error).strip())
        ) from error


def _deliver(film: _Film, made: Footage, overwrite: bool, place: Callable[[Path, Path, bool], None]) -> None:
    """Move finished files to the film's output, by `place(file, output, overwrite)`."""
    if not made.files:
        film.output = film.output.with_suffix(made.path.suffix)
        place(made.path, film.output, overwrite)
        return
    try:
        film.output.mkdir(exist_ok=True)
    except OSError as error:
        raise FaceBlurError(
            translate("The folder {output} cannot be created: {strerror}.", output=film.output, strerror=error.strerror)
        ) from error
    for file, name in zip(made.files, film.names, strict=True):
        place(made.path / file, film.output / name, overwrite)


def _copy_file(part: Path, file: Path, output: Path, overwrite: bool) -> None:
    """Copy a file through the folder `part`, so that it is complete when it appears."""
    try:
        shutil.copyfile(file, part / output.name)
    except OSError as error:
        raise FaceBlurError(
            translate(
                "{name} cannot be copied to {parent}: {strerror}.",
                name=file.name,
                parent=part.parent,
                strerror=error.strerror,
            )
        ) from error
    place_file(part / output.name, output, overwrite)


def _finish(
    films: Sequence[_Film], copy: Path, finished: Path, workplace: Workplace, notes: list[str], wait_s: float | None
) -> Generator[Step | None, None, None]:
    """Have another Blender make the strips of the copy show the films, and save it as `finished`."""
    replaced = [
        {"scene": scene, "strip": strip, "film": film.output.name, "files": film.names}
        for film in films
        for scene, strip in film.strips
    ]
    sources = [
        {"source": str(film.shown.path.joinpath(*film.shown.files[:1])), "film": film.output.name} for film in films
    ]
    job = {
        "project": str(copy.resolve()),
        "save": str(finished.resolve()),
        "replace": replaced,
        "sources": sources,
    }
    blender = Path(bpy.app.binary_path) if bpy.app.binary_path else None

    def work(report: Callable[[Step], None]) -> None:
        run_blender_job(job, workplace.folder, blender, lambda *_: None, notes.append)

    yield Step(copy.name, len(films), len(films), "export", 0, 0, 1.0, None)
    with closing(run_in_thread(work, wait_s)) as steps:
        yield from steps


def finish_copy(job: dict[str, Any]) -> tuple[bpy.types.Scene, list[str]]:
    """Make the strips of the copy show the films, remove everything of ours from it, and save it.

    Returns one of its scenes and sentences for the user. Keys of the job: project, save, replace (for each strip:
    scene, strip, film, and files of a sequence) and sources (for each film: source, film). Films are names of files or
    folders beside the project. Raises FaceBlurError if a cover could not be removed.
    """
    data = _open(job["project"])
    strips = [
        (
            data.scenes[one["scene"]],
            data.scenes[one["scene"]].sequence_editor.strips_all[one["strip"]].name,
            one["film"],
            one["files"],
        )
        for one in job["replace"]
    ]
    _remove_covers()
    for scene, name, film, files in strips:
        strip = scene.sequence_editor.strips_all[name]
        # Proxies show the old file.
        strip.use_proxy = False
        show_footage(strip, f"//{film}", files)
    films = {_resolve_path(one["source"]): one["film"] for one in reversed(job["sources"])}
    for sound in data.sounds:
        film = films.get(_resolve_path(bpy.path.abspath(sound.filepath, library=sound.library)))
        if film is not None and sound.packed_file is None:
            sound.filepath = f"//{film}"
    bare = {
        _resolve_path(bpy.path.abspath(path))
        for scene in data.scenes
        if scene.sequence_editor is not None
        for strip in scene.sequence_editor.strips_all
        for path in _list_shown(strip)
    }
    still: set[str] = set()

    def visit(owner: bpy.types.ID, path: str, _: object) -> str | None:
        real = _resolve_path(bpy.path.abspath(path, library=owner.library))
        if real not in films:
            return None
        # A sound strip keeps the path that it was created with, besides its sound's own path.
        if isinstance(owner, bpy.types.Scene) and real not in bare:
            return f"//{films[real]}"
        still.add(real)
        return None

    data.file_path_foreach(visit)
    notes = [
        f"{Path(path).name} is still in the copy of the project, because something other than a covered strip "
        "uses it, such as a strip without a cover."
        for path in sorted(still)
    ]
    left = [
        strip.name
        for scene in data.scenes
        if scene.sequence_editor is not None
        for strip in scene.sequence_editor.strips_all
        if (hasattr(strip, "modifiers") and get_modifier(strip) is not None) or MUST_BE_COVERED in strip
    ]
    if left or any(has_record(mask) for mask in data.masks):
        raise FaceBlurError(
            translate("The covers of these strips could not be removed from the copy: {left}", left=", ".join(left))
        )
    bpy.ops.wm.save_as_mainfile(filepath=job["save"], check_existing=False, compress=True, relative_remap=True)
    return data.scenes[0], notes


def _open(project: str) -> bpy.types.BlendData:
    bpy.ops.wm.open_mainfile(filepath=project, use_scripts=False)
    bpy.context.preferences.system.memory_cache_limit = CACHE_MB
    return bpy.data


def _resolve_path(path: str) -> str:
    try:
        return str(Path(path).resolve())
    except (OSError, ValueError):
        return path


def _list_shown(strip: bpy.types.Strip) -> list[str]:
    if strip.type == "MOVIE":
        return [strip.filepath]
    return [strip.directory + element.filename for element in strip.elements] if strip.type == "IMAGE" else []


def _remove_cover(strip: bpy.types.Strip) -> None:
    """Remove our marks and modifiers from a strip. If it was covered, its covers are in its film now."""
    if MUST_BE_COVERED in strip:
        strip[UNCOVERED_ON_PURPOSE] = True
    for name in {MUST_BE_COVERED, BAKED} & set(strip.keys()):
        del strip[name]
    while hasattr(strip, "modifiers") and (modifier := get_modifier(strip)) is not None:
        # Removing a modifier does not decrease the user count of its group (Blender 5.0.1, 5.2).
        modifier.node_group = None
        strip.modifiers.remove(modifier)


def _remove_covers() -> None:
    """Remove our modifiers, Mask strips, masks, tracks documents and node groups from the file."""
    helper = get_helper()
    if helper is not None:
        # A mask is being edited in a scene that shows the uncovered footage.
        bpy.data.scenes.remove(helper)
    masks = list_own_masks()
    for scene in bpy.data.scenes:
        if scene.sequence_editor is None:
            continue
        for strip in scene.sequence_editor.strips_all:
            _remove_cover(strip)
        for name in [
            strip.name for strip in scene.sequence_editor.strips_all if strip.type == "MASK" and strip.mask in masks
        ]:
            remove_strip(scene, scene.sequence_editor.strips_all[name])
            if name in scene.sequence_editor.strips_all:
                # The strip is in a meta strip, where operators cannot reach it.
                strip = scene.sequence_editor.strips_all[name]
                strip.parent_meta().strips.remove(strip)
    for mask in masks:
        text = get_document_text(mask)
        bpy.data.masks.remove(mask)
        if text is not None:
            bpy.data.texts.remove(text)
    for group in [group for group in bpy.data.node_groups if MARK in group]:
        bpy.data.node_groups.remove(group)

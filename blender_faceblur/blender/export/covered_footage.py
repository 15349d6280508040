# SPDX-License-Identifier: GPL-3.0-or-later
"""Export covered footage: films with the covers in them, and a copy of the project that shows these instead.

For those who cannot rely on what a project does elsewhere: the copy has no modifier that could be switched off, and
names no covered source any more. The project itself is not touched: all of it happens in Blenders of their own, on a
copy that lies in the folder of the results until they are whole.
"""

from __future__ import annotations

import glob
import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bpy

from ...batch.rendering import run_blender_job
from ...batch.run import BatchSettings, FilmJob, run_batch
from ...core.document.tracks_file import write_document
from ...core.types import FaceBlurError, TrackDocument
from ...files.workplace import Workplace, replace_file
from ...reporting.progress import Outcome, Reporter
from ..common.footage import Footage, get_footage
from ..common.jobs import Step
from ..common.marks import MARK, get_modifier
from ..correction.edit_masks import get_helper
from ..cover.covering import MUST_BE_COVERED, find_lost_mask
from ..cover.strips import cover_strip, get_mask, remove_strip
from ..guard.checks import asks_for_review, check_strip
from ..masks.mask import get_document_text, load_document
from ..masks.record import has_record, list_own_masks
from ..rendering.project import CACHE_MB, FIRST_FRAME, add_footage, set_format
from ..rendering.render import RenderSettings, render_still

OWN_MARK = ".covered"
"""Stands before the ending of what is exported."""

_LONGEST_END_S = 10.0


@dataclass(slots=True)
class Exported:
    """What came of an export. `notes` are sentences for the user."""

    project: Path
    films: list[Path]
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Film:
    """A film to be made, and the strips (scene, name) that show it. Of a sequence `files` are the pictures' names."""

    source: Path
    files: tuple[str, ...]
    document: TrackDocument
    strips: list[tuple[str, str]]
    output: Path


def export_covered(
    folder: Path, overwrite: bool = False, quality: str = "high", wait_s: float | None = None
) -> Generator[Step | None, None, Exported]:
    """Make a film of each covered source, and a copy of the project that shows the films, in `folder`.

    Yields how far it is, and with `wait_s` None whenever nothing has happened for that long. Closing the generator ends
    it, with nothing left behind but films that are whole. Raises FaceBlurError where faces would show, or a part cannot
    be done.
    """
    films = _plan(folder)
    project = folder / f"{Path(bpy.data.filepath).stem or 'Untitled'}{OWN_MARK}.blend"
    _check_places(project, films, overwrite)
    blender = Path(bpy.app.binary_path) if bpy.app.binary_path else None
    settings = BatchSettings(quality=quality, overwrite=True, reencode_audio=True, blender=blender)
    with Workplace() as workplace:
        copy, finished = (workplace.name_part(project, ".blend") for _ in range(2))
        _save_copy(copy)
        work = _Work(films, copy, finished, settings, workplace)
        with closing(work.run(wait_s)) as steps:
            yield from steps
        replace_file(finished, project)
    return Exported(project, [film.output for film in films], list(dict.fromkeys(work.notes)))


def _plan(folder: Path) -> list[_Film]:
    """The films to be made: one for all strips that show the same file under the same cover."""
    films: dict[tuple[Footage, str, str], _Film] = {}
    taken: set[str] = set()
    for scene in bpy.data.scenes:
        for strip in scene.sequence_editor.strips_all if scene.sequence_editor is not None else ():
            modifier = get_modifier(strip) if hasattr(strip, "modifiers") else None
            if modifier is None and not strip.get(MUST_BE_COVERED):
                continue
            if scene.library is not None:
                raise FaceBlurError(f"'{strip.name}' is in the linked scene '{scene.name}', which cannot be exported.")
            for fault in check_strip(scene, strip, asks_for_review()):
                if fault.shows:
                    raise FaceBlurError(f"'{strip.name}' would show faces: {fault.text}")
            footage = get_footage(strip)
            if len(set(footage.files)) != len(footage.files):
                raise FaceBlurError(f"'{strip.name}' shows a picture several times, which cannot be exported.")
            mask = get_mask(strip) or find_lost_mask(strip)
            if modifier is None or mask is None:
                raise FaceBlurError(f"'{strip.name}' has lost its mask: detect its faces again.")
            key = footage, modifier.node_group.name, mask.name
            if key not in films:
                films[key] = _Film(
                    footage.path, footage.files, load_document(mask), [], _name_output(folder, footage.path, taken)
                )
            films[key].strips.append((scene.name, strip.name))
    if not films:
        raise FaceBlurError("There is no covered strip.")
    return list(films.values())


def _name_output(folder: Path, source: Path, taken: set[str]) -> Path:
    """A name that no other film has, also where capitals make no difference."""
    stem, number = source.stem, 1
    while stem.casefold() in taken:
        number += 1
        stem = f"{source.stem} {number}"
    taken.add(stem.casefold())
    return folder / f"{stem}{OWN_MARK}{source.suffix}"


def _check_places(project: Path, films: list[_Film], overwrite: bool) -> None:
    """Before hours are spent."""
    try:
        project.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaceBlurError(f"{project.parent} cannot be made: {error.strerror}.") from error
    if bpy.data.filepath and project.exists() and project.samefile(bpy.data.filepath):
        raise FaceBlurError("This project is an export itself; name another folder.")
    # Which ending a film gets depends on its sound.
    names = [
        project.name,
        *(
            glob.escape(film.output.name if film.files else film.output.stem) + ("" if film.files else ".*")
            for film in films
        ),
    ]
    there = [path for name in names for path in sorted(project.parent.glob(name))]
    if there and not overwrite:
        raise FaceBlurError(f"{there[0]} exists already; name another folder.")
    for path in there:
        for film in films:
            if path.samefile(film.source):
                raise FaceBlurError(f"{path} is covered in this project; name another folder.")


def _save_copy(path: Path) -> None:
    try:
        bpy.ops.wm.save_as_mainfile(
            filepath=str(path), copy=True, check_existing=False, compress=True, relative_remap=True
        )
    except RuntimeError as error:
        raise FaceBlurError(f"The project cannot be copied: {str(error).strip()}") from error


class _Stopped(Exception):
    """Nobody waits for the export any more."""


class _Work(Reporter):
    """The part that knows no bpy, in a thread: the batch renders, brings sound and picture together and checks."""

    def __init__(
        self, films: list[_Film], copy: Path, finished: Path, settings: BatchSettings, workplace: Workplace
    ) -> None:
        super().__init__()
        self.notes: list[str] = []
        self._films, self._copy, self._finished = films, copy, finished
        self._settings, self._workplace = settings, workplace
        self._told: queue.Queue[Step | None] = queue.Queue()
        self._stopped = threading.Event()
        self._now = Step("", 1, len(films), "export", 0, 0, 0.0, None)
        self._problem: BaseException | None = None

    def run(self, wait_s: float | None) -> Generator[Step | None, None, None]:
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        try:
            while True:
                try:
                    step = self._told.get(timeout=wait_s)
                except queue.Empty:
                    yield None
                    continue
                if step is None:
                    break
                yield step
        finally:
            self._stopped.set()
            # It ends at the next word of the Blender it follows; one that says nothing is not waited for.
            thread.join(_LONGEST_END_S)
        if self._problem is not None:
            raise self._problem

    def show_progress(self, stage: str, done: int, total: int) -> None:
        if self._stopped.is_set():
            raise _Stopped
        share = (self._now.number - 1 + (done / total if total else 0.0)) / max(self._now.count, 1)
        self._told.put(replace(self._now, done=done, total=total, share=share))

    def warn(self, text: str) -> None:
        self.notes.append(text)

    def finish(self, outcome: Outcome) -> None:
        return None

    def _work(self) -> None:
        try:
            self._make()
        except BaseException as error:  # noqa: BLE001 - told by the thread that reads
            self._problem = error
        self._told.put(None)

    def _make(self) -> None:
        for number, film in enumerate(self._films, 1):
            name, total = film.output.stem.removesuffix(OWN_MARK), film.document.source.frame_count
            self._now = replace(self._now, strip=name, number=number, total=total)
            # One by one: the first that fails ends all.
            if film.files:
                self._make_pictures(film)
                continue
            outcome = run_batch(
                [FilmJob(film.source, film.output)], self._settings, self, self._give_document(film), self._render(film)
            )[0]
            if outcome.status != "done" or outcome.output is None:
                raise FaceBlurError(f"{film.source.name}: {outcome.reason}")
            film.output = outcome.output
        replaced = [
            {"scene": scene, "strip": strip, "film": film.output.name}
            for film in self._films
            for scene, strip in film.strips
        ]
        sources = [
            {"source": str(film.source / film.files[0] if film.files else film.source), "film": film.output.name}
            for film in self._films
        ]
        self._now = replace(self._now, strip=self._finished.name, total=0)
        job = {
            "project": str(self._copy.resolve()),
            "save": str(self._finished.resolve()),
            "replace": replaced,
            "sources": sources,
        }
        run_blender_job(job, self._workplace.folder, self._settings.blender, self.show_progress, self.warn)

    def _make_pictures(self, film: _Film) -> None:
        """The pictures of a sequence, under their own names, in a folder."""
        folder = self._workplace.folder
        part = self._workplace.make_part_folder(film.output)
        write_document(film.document, folder / "tracks.json")
        job = {
            "source": str(film.source),
            "files": film.files,
            "tracks": str(folder / "tracks.json"),
            "effect": None,
            "render": {"output": str(part.resolve()), "codec": self._settings.codec, "quality": self._settings.quality},
        }
        self._render(film)(job, folder, self._settings.blender, self.show_progress, self.warn)
        try:
            film.output.mkdir(exist_ok=True)
        except OSError as error:
            raise FaceBlurError(f"{film.output} cannot be made: {error.strerror}.") from error
        for name in film.files:
            replace_file(part / name, film.output / name)

    def _give_document(self, film: _Film) -> Callable[..., None]:
        def write(source: Path, tracks: Path, *_: object) -> None:
            write_document(film.document, tracks)

        return write

    def _render(self, film: _Film) -> Callable[..., dict[str, Any]]:
        scene, strip = film.strips[0]

        def render(job: dict[str, Any], *others: Any) -> dict[str, Any]:
            return run_blender_job(
                {**job, "project": str(self._copy.resolve()), "scene": scene, "strip": strip}, *others
            )

        return render


def open_footage(job: dict[str, Any], document: TrackDocument) -> bpy.types.Scene:
    """Open the copy of the project, and put the footage of one strip, with its cover, into a scene of its own.

    The scene is as `project.build_project` makes it. Mask and node group are the project's own, with everything that an
    editor did to them. Keys of the job: project, scene, strip, source.
    """
    strip = _open(job["project"]).scenes[job["scene"]].sequence_editor.strips_all[job["strip"]]
    mask = get_mask(strip) or find_lost_mask(strip)
    modifier = get_modifier(strip)
    if mask is None or modifier is None:
        raise FaceBlurError(f"'{strip.name}' has lost its cover.")
    group = modifier.node_group
    scene = bpy.data.scenes.new("Face Blur Export")
    set_format(scene, document.source)
    if "files" in job:
        first, *others = job["files"]
        footage = scene.sequence_editor_create().strips.new_image(
            "Pictures", str(Path(job["source"]) / first), 1, FIRST_FRAME, fit_method="ORIGINAL"
        )
        for name in others:
            footage.elements.append(name)
    else:
        footage = add_footage(scene, Path(job["source"]), document.source)
    # What the film is said to hold stays with the strip: its numbers pass through as they are.
    footage.colorspace_settings.name = "sRGB"
    cover_strip(scene, footage, mask, group)
    return scene


def render_pictures(
    scene: bpy.types.Scene,
    files: list[str],
    settings: RenderSettings,
    channels: str,
    depth: int,
    progress: Callable[[int], None],
) -> None:
    """Render frame for frame into pictures of those names in the folder `settings.output`; see `render_still`."""
    for number, name in enumerate(files):
        render_still(scene, replace(settings, output=settings.output / name), channels, depth, FIRST_FRAME + number)
        if not (settings.output / name).is_file():
            raise FaceBlurError(f"Blender rendered {name} without an error, but there is no file.")
        progress(number + 1)


def finish_copy(job: dict[str, Any]) -> tuple[bpy.types.Scene, list[str]]:
    """Let the strips of the copy show the films, take everything of ours out of it, and save it.

    A scene of it, and sentences for the user. Keys of the job: project, save, replace (of each strip: scene, strip,
    film), sources (of each film: source, film); films are names of files beside the project. Raises FaceBlurError
    unless all of it could be done.
    """
    data = _open(job["project"])
    strips = [
        (
            data.scenes[one["scene"]],
            data.scenes[one["scene"]].sequence_editor.strips_all[one["strip"]].name,
            one["film"],
        )
        for one in job["replace"]
    ]
    _remove_covers()
    for scene, name, film in strips:
        _show(scene.sequence_editor.strips_all[name], film)
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
        # A sound strip keeps the path that it was made with, beside that of its sound.
        if isinstance(owner, bpy.types.Scene) and real not in bare:
            return f"//{films[real]}"
        still.add(real)
        return None

    data.file_path_foreach(visit)
    notes = [
        f"{Path(path).name} is still in the copy of the project: a strip without a cover, or something else that "
        "is no covered strip, shows it."
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
        raise FaceBlurError(f"The covers could not be taken out of the copy: {', '.join(left)}")
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


def _show(strip: bpy.types.Strip, film: str) -> None:
    """Let a strip show a file beside the project, of the same size and length; everything else about it stays."""
    space = strip.colorspace_settings.name
    # A proxy is a small film of the old file.
    strip.use_proxy = False
    if strip.type == "MOVIE":
        strip.filepath = f"//{film}"
    elif len(strip.elements) > 1:
        strip.directory = f"//{film}/"
    else:
        strip.directory = "//"
        strip.elements[0].filename = film
    strip.colorspace_settings.name = space


def _remove_covers() -> None:
    """Take modifiers, Mask strips, masks, what was found, and node groups of ours out of the file."""
    helper = get_helper()
    if helper is not None:
        # A mask was being edited, over the bare footage.
        bpy.data.scenes.remove(helper)
    masks = list_own_masks()
    for scene in bpy.data.scenes:
        if scene.sequence_editor is None:
            continue
        for strip in scene.sequence_editor.strips_all:
            if MUST_BE_COVERED in strip:
                del strip[MUST_BE_COVERED]
            while hasattr(strip, "modifiers") and (modifier := get_modifier(strip)) is not None:
                # Removing a modifier does not count the group's user down (Blender 5.0.1, 5.2).
                modifier.node_group = None
                strip.modifiers.remove(modifier)
        for name in [
            strip.name for strip in scene.sequence_editor.strips_all if strip.type == "MASK" and strip.mask in masks
        ]:
            remove_strip(scene, scene.sequence_editor.strips_all[name])
            if name in scene.sequence_editor.strips_all:
                # Operators work on the level that is shown: this one is in a meta strip.
                strip = scene.sequence_editor.strips_all[name]
                strip.parent_meta().strips.remove(strip)
    for mask in masks:
        text = get_document_text(mask)
        bpy.data.masks.remove(mask)
        if text is not None:
            bpy.data.texts.remove(text)
    for group in [group for group in bpy.data.node_groups if MARK in group]:
        bpy.data.node_groups.remove(group)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Export covered footage: films that contain the covers, and a copy of the project that shows these films instead.

This is for editors who pass a project on: the copy has no modifier that could be switched off, and no longer refers to
any covered source. The project itself does not change. All work happens in other Blender processes, on a temporary copy
in the output folder.
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

from ...batch.planning import FilmJob
from ...batch.rendering import run_blender_job
from ...batch.run import run_batch
from ...batch.settings import BatchSettings
from ...core.document.tracks_file import write_document
from ...core.types import FaceBlurError, TrackDocument
from ...files.workplace import Workplace, place_file
from ...reporting.progress import Outcome, Reporter
from ...sources import SourceGuard
from ..common.footage import Footage, get_footage
from ..common.jobs import Step
from ..common.marks import BAKED, MARK, get_modifier
from ..correction.edit_masks import get_helper
from ..cover.covering import MUST_BE_COVERED, UNCOVERED_ON_PURPOSE, find_lost_mask
from ..cover.strips import cover_strip, get_mask, remove_strip
from ..guard.checks import asks_for_review, check_strip
from ..masks.document import get_document_text, load_document
from ..masks.record import has_record, list_own_masks
from ..rendering.project import CACHE_MB, FIRST_FRAME, add_footage, set_format
from ..rendering.render import RenderSettings, render_still

OWN_MARK = ".covered"
"""Comes before the ending in the names of exported files."""

_LONGEST_END_S = 10.0


@dataclass(slots=True)
class Exported:
    """The result of an export. `notes` are sentences for the user."""

    project: Path
    films: list[Path]
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Film:
    """A film to be made, and the strips (scene, name) that show it. `files` has the picture names of a sequence."""

    source: Path
    files: tuple[str, ...]
    document: TrackDocument
    strips: list[tuple[str, str]]
    output: Path


def export_covered(
    folder: Path, overwrite: bool = False, quality: str = "high", wait_s: float | None = None
) -> Generator[Step | None, None, Exported]:
    """Make a film of each covered source, and a copy of the project that shows the films, in `folder`.

    Yields the progress, and with `wait_s` None whenever nothing has happened for that long. Closing the generator stops
    the export and leaves only complete films behind. Raises FaceBlurError if faces would show or a part fails.
    """
    films = _plan(folder)
    project = folder / f"{Path(bpy.data.filepath).stem or 'Untitled'}{OWN_MARK}.blend"
    _check_places(project, films, overwrite)
    blender = Path(bpy.app.binary_path) if bpy.app.binary_path else None
    settings = BatchSettings(
        quality=quality, overwrite=overwrite, reencode_audio=True, blender=blender, renderer="blender"
    )
    with Workplace() as workplace:
        copy, finished = (workplace.name_part(project, ".blend") for _ in range(2))
        _save_copy(copy)
        work = _Work(films, copy, finished, settings, workplace)
        with closing(work.run(wait_s)) as steps:
            yield from steps
        place_file(finished, project, overwrite)
    return Exported(project, [film.output for film in films], list(dict.fromkeys(work.notes)))


def _plan(folder: Path) -> list[_Film]:
    """The films to be made: one for all strips that show the same file with the same cover."""
    films: dict[tuple[Footage, str, str], _Film] = {}
    taken: set[str] = set()
    for scene in bpy.data.scenes:
        for strip in scene.sequence_editor.strips_all if scene.sequence_editor is not None else ():
            modifier = get_modifier(strip) if hasattr(strip, "modifiers") else None
            if BAKED in strip or (modifier is None and not strip.get(MUST_BE_COVERED)):
                continue
            if scene.library is not None:
                raise FaceBlurError(
                    f"'{strip.name}' is in the linked scene '{scene.name}', which cannot be exported. "
                    "Make the scene local first."
                )
            for fault in check_strip(scene, strip, asks_for_review()):
                if fault.shows:
                    raise FaceBlurError(f"'{strip.name}' would show faces: {fault.text}")
            footage = get_footage(strip)
            if len(set(footage.files)) != len(footage.files):
                raise FaceBlurError(f"'{strip.name}' shows a picture more than once, which cannot be exported.")
            mask = get_mask(strip) or find_lost_mask(strip)
            if modifier is None or mask is None:
                raise FaceBlurError(f"'{strip.name}' has lost its mask. Detect its faces again.")
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
        raise FaceBlurError(f"The folder {project.parent} cannot be created: {error.strerror}.") from error
    if bpy.data.filepath and project.exists() and project.samefile(bpy.data.filepath):
        raise FaceBlurError("The export would overwrite this project. Choose another folder.")
    # The ending of a film depends on its sound and is not known yet.
    names = [
        project.name,
        *(
            glob.escape(film.output.name if film.files else film.output.stem) + ("" if film.files else ".*")
            for film in films
        ),
    ]
    there = [path for name in names for path in sorted(project.parent.glob(name))]
    if there and not overwrite:
        raise FaceBlurError(f"{there[0]} already exists. Choose another folder, or Overwrite.")
    for path in there:
        for film in films:
            if path.samefile(film.source):
                raise FaceBlurError(
                    f"The export would overwrite {path}, a source of this project. Choose another folder."
                )


def _save_copy(path: Path) -> None:
    try:
        bpy.ops.wm.save_as_mainfile(
            filepath=str(path), copy=True, check_existing=False, compress=True, relative_remap=True
        )
    except RuntimeError as error:
        raise FaceBlurError(f"A copy of the project cannot be saved: {str(error).strip()}") from error


class _Stopped(Exception):
    """The export was cancelled."""


class _Work(Reporter):
    """The part without bpy, in a thread: the batch renders each film, adds its sound and checks it."""

    def __init__(
        self, films: list[_Film], copy: Path, finished: Path, settings: BatchSettings, workplace: Workplace
    ) -> None:
        super().__init__()
        self.notes: list[str] = []
        self._films, self._copy, self._finished = films, copy, finished
        self._settings, self._workplace = settings, workplace
        self._steps: queue.Queue[Step | None] = queue.Queue()
        self._stopped = threading.Event()
        self._now = Step("", 1, len(films), "export", 0, 0, 0.0, None)
        self._problem: BaseException | None = None

    def run(self, wait_s: float | None) -> Generator[Step | None, None, None]:
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        try:
            while True:
                try:
                    step = self._steps.get(timeout=wait_s)
                except queue.Empty:
                    yield None
                    continue
                if step is None:
                    break
                yield step
        finally:
            self._stopped.set()
            # The thread ends at the next message of its Blender process. A silent process is not waited for.
            thread.join(_LONGEST_END_S)
        if self._problem is not None:
            raise self._problem

    def show_progress(self, stage: str, done: int, total: int) -> None:
        if self._stopped.is_set():
            raise _Stopped
        share = (self._now.number - 1 + (done / total if total else 0.0)) / max(self._now.count, 1)
        self._steps.put(replace(self._now, done=done, total=total, share=share))

    def warn(self, text: str) -> None:
        self.notes.append(text)

    def finish(self, outcome: Outcome) -> None:
        return None

    def _work(self) -> None:
        try:
            self._make()
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            self._problem = error
        self._steps.put(None)

    def _make(self) -> None:
        for number, film in enumerate(self._films, 1):
            name, total = film.output.stem.removesuffix(OWN_MARK), film.document.source.frame_count
            self._now = replace(self._now, strip=name, number=number, total=total)
            # One by one, as the first failure ends the export.
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
        """Export the pictures of a sequence to a folder, under their own names."""
        folder = self._workplace.folder
        guard = SourceGuard(film.source, film.files)
        if guard.fingerprint != film.document.source.fingerprint:
            raise FaceBlurError(f"{film.source.name} changed after its faces were detected. Detect them again.")
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
        guard.check("the render")
        try:
            film.output.mkdir(exist_ok=True)
        except OSError as error:
            raise FaceBlurError(f"The folder {film.output} cannot be created: {error.strerror}.") from error
        for name in film.files:
            place_file(part / name, film.output / name, self._settings.overwrite)

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

    The scene is like one by `project.build_project`, but with the project's own mask and node group, including all
    edits. Keys of the job: project, scene, strip, source and, for a sequence, files. Raises FaceBlurError if the strip
    has no cover.
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
    # The strip keeps its own colour space; here the pixel values must pass through unchanged.
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
    """Render each frame to a picture with its name in the folder `settings.output`; see `render_still`.

    Raises FaceBlurError if a picture is missing afterwards.
    """
    for number, name in enumerate(files):
        render_still(scene, replace(settings, output=settings.output / name), channels, depth, FIRST_FRAME + number)
        if not (settings.output / name).is_file():
            raise FaceBlurError(f"Blender reported no error, but did not write {name}.")
        progress(number + 1)


def finish_copy(job: dict[str, Any]) -> tuple[bpy.types.Scene, list[str]]:
    """Make the strips of the copy show the films, remove everything of ours from it, and save it.

    Returns one of its scenes and sentences for the user. Keys of the job: project, save, replace (for each strip:
    scene, strip, film) and sources (for each film: source, film). Films are names of files beside the project. Raises
    FaceBlurError if a cover could not be removed.
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
        raise FaceBlurError(f"The covers of these strips could not be removed from the copy: {', '.join(left)}")
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
    """Make a strip show a file of the same size and length beside the project; its other settings stay the same."""
    space = strip.colorspace_settings.name
    # Proxies show the old file.
    strip.use_proxy = False
    if strip.type == "MOVIE":
        strip.filepath = f"//{film}"
    elif len(strip.elements) > 1:
        strip.directory = f"//{film}/"
    else:
        strip.directory = "//"
        strip.elements[0].filename = film
    strip.colorspace_settings.name = space


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

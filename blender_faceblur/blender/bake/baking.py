# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake covers: make films that contain them and let the strips show these films, and take that back.

Another Blender evaluates the masks, and a worker paints. Until a film is complete and checked, nothing in the project
changes. A strip shows picture n of the film where it showed frame n of its source, so its cuts, speed and transform
stay as they are.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import bpy

from ...core.translation import translate
from ...core.types import FaceBlurError
from ...files.baked import remember_source
from ...files.workplace import Workplace, place_file
from ...sources import compute_fingerprint
from ..common.context import borrow_selection
from ..common.footage import KINDS, Footage, get_footage
from ..common.jobs import Step
from ..common.marks import BAKED, get_modifier
from ..cover.baked import BakedRecord, compute_stamp, count_edits, is_baked, mark_evaluated, name_outlines
from ..cover.covering import MUST_BE_COVERED
from ..cover.strips import cover_strip, get_mask, remove_strip
from ..guard.checks import list_rendered
from .films import PaintedFootage, Painting, name_look, paint_orders
from .orders import BakeOrder, find_film, find_source, list_strips, plan, resolve_path

FOLDER = "faceblur-baked"
"""Name of the folder for baked films, beside the project."""

_BAKE_COST = 0.25
"""The time that it takes to bake a frame, as a share of the time that Blender's cover adds to a rendered frame. Raising
it bakes less often before a render. Origin: 0.1 for a mosaic at 1080p on two cores; more leaves room for other codecs
and for the start of the processes."""


@dataclass(slots=True)
class BakedFilm:
    """A finished film, or finished pictures. `painted` is the number of pictures that were painted now, not by an
    earlier bake."""

    order: BakeOrder
    footage: Footage
    fingerprint: str
    outlines: str
    painted: int

    @property
    def path(self) -> Path:
        return self.footage.path


@dataclass(slots=True)
class BakeResult:
    films: list[BakedFilm] = field(default_factory=list)
    digests: dict[str, tuple[str, int]] = field(default_factory=dict)
    """What the masks covered, by name (`OutlineTimeline.digest`), and how often they had been edited then."""
    notes: list[str] = field(default_factory=list)


def list_bakeable(scene: bpy.types.Scene) -> list[bpy.types.Strip]:
    """The strips of a scene that are covered or baked."""
    return [
        strip
        for strip in (scene.sequence_editor.strips_all if scene.sequence_editor is not None else ())
        if strip.type in KINDS and (get_modifier(strip) is not None or is_baked(strip))
    ]


def list_quicker_baked(scene: bpy.types.Scene) -> list[bpy.types.Strip]:
    """The covered movie strips that should be baked before the scene's frame range is rendered, because that takes less
    time than Blender's covers."""
    saved: dict[str, float] = {}
    lengths: dict[str, int] = {}
    strips = [
        strip
        for owner, strip in list_rendered(scene)
        if owner == scene and strip.type == "MOVIE" and get_mask(strip) is not None and get_modifier(strip) is not None
    ]
    for strip in strips:
        mask = get_mask(strip)
        first, stop = max(strip.frame_final_start, scene.frame_start), min(strip.frame_final_end, scene.frame_end + 1)
        saved[mask.name] = saved.get(mask.name, 0.0) + max(stop - first, 0) / scene.frame_step
        lengths[mask.name] = mask.frame_end - mask.frame_start
    quicker = {name for name, frames in saved.items() if frames > _BAKE_COST * lengths[name]}
    return [strip for strip in strips if get_mask(strip).name in quicker]


def list_baked_masks() -> list[tuple[bpy.types.Mask, int]]:
    """The masks of all baked strips, and the number of frames of their sources."""
    found = {}
    for strip in list_strips():
        if is_baked(strip):
            with suppress(FaceBlurError):
                record = BakedRecord.load(strip)
                if record.mask is not None:
                    found[record.mask.name] = record.mask, record.frames
    return list(found.values())


def bake(strips: Sequence[bpy.types.Strip], wait_s: float | None = None) -> Generator[Step | None, None, BakeResult]:
    """Make the films for these strips, beside the project; `apply` then lets the strips show them.

    Yields the progress, and with `wait_s` None whenever nothing has happened for that long. Closing the generator ends
    all processes; painted pieces are kept for the next bake. Raises FaceBlurError if faces would show, if something
    cannot be painted, or if the project was never saved.
    """
    if not bpy.data.filepath:
        raise FaceBlurError("Save the project first. The films are stored beside it.")
    orders = plan(strips)
    folder = Path(bpy.data.filepath).parent / FOLDER
    return _bake(orders, folder, wait_s)


def _bake(orders: list[BakeOrder], folder: Path, wait_s: float | None) -> Generator[Step | None, None, BakeResult]:
    films: list[BakedFilm] = []
    painting = Painting(lambda made: films.append(_deliver(folder, made)))
    if orders:
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise FaceBlurError(
                translate("The folder {folder} cannot be created: {strerror}.", folder=folder, strerror=error.strerror)
            ) from error
        with Workplace() as workplace:
            yield from paint_orders(orders, painting, folder, folder, workplace, wait_s)
    return BakeResult(films, painting.digests, painting.notes)


def _deliver(folder: Path, made: PaintedFootage) -> BakedFilm:
    """Move a film into the folder under its final name, unless it is there since an earlier bake."""
    order, painted = made.order, made.footage
    fingerprint = compute_fingerprint(painted.path, painted.files)
    stem = f"{order.key}-{name_look(order)}{name_outlines(made.outlines)}"
    final = _name_film(folder, stem, painted, fingerprint)
    if not final.exists():
        if painted.files:
            try:
                painted.path.rename(final)
            except OSError as error:
                raise FaceBlurError(
                    translate("{final} cannot be written: {strerror}.", final=final, strerror=error.strerror)
                ) from error
        else:
            place_file(painted.path, final, overwrite=False)
    return BakedFilm(order, replace(painted, path=final), fingerprint, made.outlines, made.painted)


def _name_film(folder: Path, stem: str, painted: Footage, fingerprint: str) -> Path:
    """A free path for a film or pictures, or that of the same ones, made by an earlier bake."""
    suffix = "" if painted.files else painted.path.suffix
    number = 1
    while True:
        path = folder / f"{stem if number == 1 else f'{stem}-{number}'}{suffix}"
        if not path.exists():
            return path
        with suppress(FaceBlurError):
            if compute_fingerprint(path, painted.files) == fingerprint:
                return path
        number += 1


def apply(result: BakeResult) -> tuple[list[str], list[str]]:
    """Let the strips show their films. Returns the names of these strips, and a sentence for each other one."""
    done, problems = [], []
    for film in result.films:
        order = film.order
        remember_source(order.key, order.source.path, order.written, order.source.files)
        for owner, name in order.strips:
            scene = bpy.data.scenes.get(owner)
            strip = scene.sequence_editor.strips_all.get(name) if scene is not None and scene.sequence_editor else None
            problem = _explain_difference(strip, order)
            if problem:
                problems.append(f"'{name}' was not baked, because {problem}.")
                continue
            _switch(scene, strip, film)
            done.append(name)
    for name, (digest, edits) in result.digests.items():
        mask = bpy.data.masks.get(name)
        if mask is not None and count_edits(mask) == edits:
            mark_evaluated(mask, digest)
    return done, problems


def _explain_difference(strip: bpy.types.Strip | None, order: BakeOrder) -> str:
    """What was changed in the project while the film was made; empty if nothing was."""
    mask, group = bpy.data.masks.get(order.mask), bpy.data.node_groups.get(order.group)
    if strip is None or mask is None or group is None:
        return "it or its cover was deleted meanwhile"
    if is_baked(strip):
        record = BakedRecord.load(strip)
        if (record.mask, record.group) != (mask, group):
            return "its cover was changed meanwhile"
    else:
        modifier = get_modifier(strip)
        if modifier is None or modifier.node_group != group or get_mask(strip) != mask:
            return "its cover was changed meanwhile"
        if get_footage(strip) != order.source:
            return "it shows another file by now"
    return "" if compute_stamp(mask, group) == order.stamp else "its mask was changed meanwhile"


def _switch(scene: bpy.types.Scene, strip: bpy.types.Strip, film: BakedFilm) -> None:
    """Make a covered or baked strip show a film, and remove its modifier and Mask strip."""
    order = film.order
    if is_baked(strip):
        record = replace(BakedRecord.load(strip), film=film.fingerprint, outlines=film.outlines, stamp=order.stamp)
        before = find_film(strip)
    else:
        modifier = get_modifier(strip)
        mask_strip = modifier.input_mask_strip
        record = BakedRecord(
            get_mask(strip),
            modifier.node_group,
            order.key,
            order.fingerprint,
            order.frames,
            film.fingerprint,
            film.outlines,
            order.stamp,
            list(strip.modifiers).index(modifier),
            strip.use_proxy,
        )
        before = order.source
        # Removing a modifier does not decrease its group's user count (Blender 5.0.1, 5.2).
        modifier.node_group = None
        strip.modifiers.remove(modifier)
        if mask_strip is not None:
            name = strip.name
            remove_strip(scene, mask_strip)
            strip = scene.sequence_editor.strips_all[name]
        if strip.use_proxy and strip.proxy.use_proxy_custom_file:
            # This file shows the source. In a folder, the film gets proxies of its own.
            strip.use_proxy = False
    written = bpy.path.relpath(str(film.path))
    show_footage(strip, written, film.footage.files)
    record.save(strip)
    strip[MUST_BE_COVERED] = True
    if before is not None:
        _move_sound(before, film.footage, written)


def unbake(strips: Iterable[bpy.types.Strip], source: Path | None = None) -> tuple[list[str], list[str]]:
    """Give these strips back their sources, masks and effects. Returns their names, and a sentence for each failure.

    `source` is the source's path, if it is not where it was.
    """
    done, problems = [], []
    for owner, name in [(strip.id_data, strip.name) for strip in strips if is_baked(strip)]:
        strip = owner.sequence_editor.strips_all[name]
        try:
            _unbake_strip(owner, strip, source)
            done.append(name)
        except FaceBlurError as error:
            problems.append(str(error))
    return done, problems


def _unbake_strip(scene: bpy.types.Scene, strip: bpy.types.Strip, source: Path | None) -> None:
    record = BakedRecord.load(strip)
    if record.mask is None or record.group is None:
        raise FaceBlurError(
            translate("'{name}' cannot be unbaked, because its mask or its effect was deleted.", name=strip.name)
        )
    footage, written = find_source(strip, record, source)
    film, name = find_film(strip), strip.name
    # Cover first: a failure must not leave the source bare.
    cover_strip(scene, strip, record.mask, record.group)
    strip = scene.sequence_editor.strips_all[name]
    _place_modifier(scene, strip, record.place)
    show_footage(strip, written, footage.files)
    strip.use_proxy = record.use_proxy
    del strip[BAKED]
    if film is not None and not any(is_baked(other) and find_film(other) == film for other in list_strips()):
        _move_sound(film, footage, written)


def _place_modifier(scene: bpy.types.Scene, strip: bpy.types.Strip, place: int) -> None:
    """Move our modifier up to a position among the strip's modifiers."""
    modifier = get_modifier(strip)
    for _ in range(list(strip.modifiers).index(modifier) - place):
        with borrow_selection(scene, strip):
            bpy.ops.sequencer.strip_modifier_move(name=modifier.name, direction="UP")
        modifier = get_modifier(strip)


def show_footage(strip: bpy.types.Strip, written: str, files: Sequence[str] = ()) -> None:
    """Make a movie or image strip show another film, or other pictures, of the same size, rate and length; its other
    settings stay the same. For `written` see `read_written`; `files` are the pictures of a sequence."""
    space = strip.colorspace_settings.name
    if strip.type == "MOVIE":
        strip.filepath = written
    else:
        end = max(written.rfind("/"), written.rfind("\\")) + 1
        strip.directory = f"{written.rstrip('/')}/" if files else written[:end]
        for element, name in zip(strip.elements, files or [written[end:]], strict=True):
            element.filename = name
    strip.colorspace_settings.name = space


def _move_sound(shown: Footage, new: Footage, written: str) -> None:
    """Make sound strips play the sound of a film instead of the same sound in another."""
    old = shown.path
    if shown.files or new.files:
        return
    for sound in bpy.data.sounds:
        if sound.library is None and sound.packed_file is None and resolve_path(sound.filepath) == old:
            sound.filepath = written
    others = [strip for strip in list_strips() if strip.type in KINDS and find_film(strip) == shown]

    def visit(owner: bpy.types.ID, path: str, _: object) -> str | None:
        is_old = isinstance(owner, bpy.types.Scene) and owner.library is None and resolve_path(path) == old
        return written if is_old else None

    if not others:
        # A sound strip keeps the path that it was created with, besides its sound's own path.
        bpy.data.file_path_foreach(visit)

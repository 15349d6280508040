# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake covers: make films that contain them and let the strips show these films, and take that back.

Another Blender evaluates the masks, and a worker paints. Until a film is complete and checked, nothing in the project
changes. A strip shows picture n of the film where it showed frame n of its source, so its cuts, speed and transform
stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import queue
import secrets
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import bpy

from ...batch.rendering import run_blender_job
from ...core.cover.effects import EffectSettings
from ...core.types import FaceBlurError
from ...files.baked import recall_source, remember_source
from ...files.workplace import Workplace, place_file
from ...painting.outlines import OutlineTimeline, read_outlines
from ...sources import compute_fingerprint
from ...worker.protocol import Message, PaintDone, PaintRequest, SourceRef, Warned
from ..common.context import borrow_selection
from ..common.footage import KINDS, get_footage, get_shown_footage
from ..common.jobs import JobProgress, Step
from ..common.marks import BAKED, get_modifier
from ..cover.baked import BakedRecord, compute_stamp, count_edits, evaluate, is_baked, is_evaluated, mark_evaluated
from ..cover.covering import MUST_BE_COVERED, compute_largest_face_px
from ..cover.strips import cover_strip, get_mask, remove_strip
from ..guard.checks import check_strip, list_rendered
from ..masks.changes import hold
from ..masks.document import load_document
from ..masks.mask import extend_frame_range
from ..masks.outlines import check_readable
from ..masks.reading import adopt_layers
from ..masks.record import MaskRecord
from .effects import read_painted_effect, write_sticker
from .outlines import write_masks

FOLDER = "faceblur-baked"
"""Name of the folder for baked films, beside the project."""

KEY = "faceblur_bake"
"""Custom property of a mask: the key of its source's path, and the beginning of its films' names."""

_EVALUATION_SHARE = 0.1
"""Share of the progress bar for the evaluation of the masks."""

_BAKE_COST = 0.25
"""The time that it takes to bake a frame, as a share of the time that Blender's cover adds to a rendered frame. Raising
it bakes less often before a render. Origin: 0.1 for a mosaic at 1080p on two cores; more leaves room for other codecs
and for the start of the processes."""

_LONGEST_END_S = 10.0


@dataclass(slots=True)
class BakeOrder:
    """A film to make, by names, because an editor may undo, rename and delete meanwhile."""

    source: Path
    written: str
    """The source's path as the strip has it."""
    fingerprint: str
    mask: str
    group: str
    key: str
    effect: EffectSettings
    face_px: float
    frames: int
    stamp: str
    strips: list[tuple[str, str]]
    """Scene and name of the strips that will show the film."""
    edits: int = 0
    """How often the mask had been edited when the order was made, see `count_edits`."""
    known: str = ""
    """What the strips' film covers, if it is intact and only the mask's shapes may have changed since."""


@dataclass(slots=True)
class BakedFilm:
    """A finished film. `painted` is the number of pictures that were painted now, not by an earlier bake."""

    order: BakeOrder
    path: Path
    fingerprint: str
    outlines: str
    painted: int


@dataclass(slots=True)
class BakeResult:
    films: list[BakedFilm] = field(default_factory=list)
    digests: dict[str, tuple[str, int]] = field(default_factory=dict)
    """What the masks covered, by name (`OutlineTimeline.digest`), and how often they had been edited then."""
    notes: list[str] = field(default_factory=list)


def list_bakeable(scene: bpy.types.Scene) -> list[bpy.types.Strip]:
    """The movie strips of a scene that are covered, or baked and have other covers by now."""
    return [
        strip
        for strip in (scene.sequence_editor.strips_all if scene.sequence_editor is not None else ())
        if strip.type == "MOVIE" and (get_modifier(strip) is not None or is_baked(strip))
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
    for strip in _list_strips():
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
    orders = plan(strips)
    folder = Path(bpy.data.filepath).parent / FOLDER
    return _bake(orders, folder, wait_s)


def plan(strips: Iterable[bpy.types.Strip]) -> list[BakeOrder]:
    """The films to be made: one for all strips with the same source, mask and effect. Baked strips whose film is up to
    date need none."""
    if not bpy.data.filepath:
        raise FaceBlurError("Save the project first. The films are stored beside it.")
    orders: dict[tuple[Any, ...], BakeOrder] = {}
    for strip in strips:
        order = _plan_baked(strip) if is_baked(strip) else _plan_covered(strip)
        if order is None:
            continue
        key = order.source, order.mask, order.effect, order.face_px
        orders.setdefault(key, order)
        if orders[key] is not order:
            orders[key].strips += order.strips
            orders[key].known = order.known if orders[key].known == order.known else ""
    return list(orders.values())


def _plan_covered(strip: bpy.types.Strip) -> BakeOrder:
    scene = strip.id_data
    if scene.library is not None:
        raise FaceBlurError(f"'{strip.name}' is in the linked scene '{scene.name}'. Make the scene local first.")
    if strip.type != "MOVIE":
        raise FaceBlurError(f"'{strip.name}' shows pictures. Bake works for movie strips only.")
    footage, mask, modifier = get_footage(strip), get_mask(strip), get_modifier(strip)
    if mask is None or modifier is None:
        raise FaceBlurError(f"'{strip.name}' has lost its mask. Detect its faces again.")
    extend_frame_range(mask)
    adopt_layers(mask)
    for fault in check_strip(scene, strip):
        if fault.shows:
            raise FaceBlurError(f"'{strip.name}' would show faces: {fault.text}")
    return _make_order(strip, footage.path, strip.filepath, mask, modifier.node_group)


def _plan_baked(strip: bpy.types.Strip) -> BakeOrder | None:
    record = BakedRecord.load(strip)
    film = _find_film(strip)
    known = record.outlines if film is not None and compute_fingerprint(film) == record.film else ""
    if record.mask is None or record.group is None:
        if known:
            return None
        raise FaceBlurError(f"'{strip.name}' has lost its mask or its effect. Unbake it and detect its faces again.")
    extend_frame_range(record.mask)
    adopt_layers(record.mask)
    if compute_stamp(record.mask, record.group) != record.stamp:
        known = ""
    if known and is_evaluated(record.mask) and evaluate(record.mask, record.frames) == known:
        return None
    source, written = find_source(strip, record)
    # The other Blender evaluates the mask, because that would block the window.
    return replace(_make_order(strip, source, written, record.mask, record.group), known=known)


def _make_order(
    strip: bpy.types.Strip, source: Path, written: str, mask: bpy.types.Mask, group: bpy.types.NodeTree
) -> BakeOrder:
    check_readable(mask)
    document = load_document(mask)
    if KEY not in mask:
        with hold(mask):
            mask[KEY] = secrets.token_hex(8)
            bpy.context.view_layer.update()
    face_px = compute_largest_face_px(document)
    record = MaskRecord.load(mask)
    return BakeOrder(
        source,
        written,
        record.fingerprint,
        mask.name,
        group.name,
        str(mask[KEY]),
        read_painted_effect(strip.name, group, record.size, face_px),
        face_px,
        document.source.frame_count,
        compute_stamp(mask, group),
        [(strip.id_data.name, strip.name)],
        count_edits(mask),
    )


def _bake(orders: list[BakeOrder], folder: Path, wait_s: float | None) -> Generator[Step | None, None, BakeResult]:
    result = BakeResult()
    if not orders:
        return result
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise FaceBlurError(f"The folder {folder} cannot be created: {error.strerror}.") from error
    with Workplace() as workplace:
        outlines = yield from _evaluate(orders, workplace.folder, wait_s)
        progress, total, done = JobProgress(len(orders), wait_s), sum(order.frames for order in orders), 0
        for number, (order, path) in enumerate(zip(orders, outlines, strict=True), 1):
            share = (1 - _EVALUATION_SHARE) / total
            span = (_EVALUATION_SHARE + done * share, _EVALUATION_SHARE + (done + order.frames) * share)
            done += order.frames
            digest = OutlineTimeline(read_outlines(path), 1.0).digest()
            result.digests[order.mask] = digest, order.edits
            if digest != order.known:
                work = _paint(order, path, digest, folder, workplace, progress, number, span, result.notes)
                result.films.append((yield from work))
    return result


def _evaluate(orders: list[BakeOrder], folder: Path, wait_s: float | None) -> Generator[Step | None, None, list[Path]]:
    """An outlines file for each order, in `folder`."""
    masks = {order.mask: order.frames for order in orders}
    paths = {mask: folder / f"outlines-{number}.npz" for number, mask in enumerate(masks)}
    stored = folder / "masks.blend"
    write_masks(stored, {bpy.data.masks[mask] for mask in masks})
    job = {
        "masks": str(stored),
        "evaluate": [{"mask": mask, "frames": frames, "outlines": str(paths[mask])} for mask, frames in masks.items()],
    }
    blender = Path(bpy.app.binary_path) if bpy.app.binary_path else None
    name, count = orders[0].strips[0][1], len(orders)

    def work(report: Callable[[Step], None]) -> None:
        def on_progress(stage: str, done: int, total: int) -> None:
            report(Step(name, 1, count, stage, done, total, _EVALUATION_SHARE * done / total, None))

        run_blender_job(job, folder, blender, on_progress, lambda text: None)

    with closing(_run_in_thread(work, wait_s)) as steps:
        yield from steps
    return [paths[order.mask] for order in orders]


class _Stopped(Exception):
    """The job was cancelled."""


def _run_in_thread(
    work: Callable[[Callable[[Step], None]], None], wait_s: float | None
) -> Generator[Step | None, None, None]:
    """Run `work`, which must not use bpy, and yield the steps that it reports. Closing the generator stops it at its
    next report."""
    steps: queue.Queue[Step | BaseException | None] = queue.Queue()
    stopped = threading.Event()

    def report(step: Step) -> None:
        if stopped.is_set():
            raise _Stopped
        steps.put(step)

    def run() -> None:
        try:
            work(report)
        except BaseException as error:  # noqa: BLE001 - raised again below
            steps.put(error)
        steps.put(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            try:
                step = steps.get(timeout=wait_s) if wait_s != 0 else steps.get_nowait()
            except queue.Empty:
                yield None
                continue
            if step is None:
                return
            if isinstance(step, BaseException):
                raise step
            yield step
    finally:
        stopped.set()
        thread.join(_LONGEST_END_S)


def _paint(
    order: BakeOrder,
    outlines: Path,
    digest: str,
    folder: Path,
    workplace: Workplace,
    progress: JobProgress,
    number: int,
    span: tuple[float, float],
    notes: list[str],
) -> Generator[Step | None, None, BakedFilm]:
    look = hashlib.sha256(json.dumps([astuple(order.effect), order.face_px]).encode()).hexdigest()[:8]
    pieces = folder / f"{order.key}-{look}.pieces"
    part, report = workplace.name_part(folder / order.key, ""), workplace.folder / f"film-{number}.json"
    made: list[PaintDone] = []

    def receive(message: Message) -> None:
        if isinstance(message, Warned):
            notes.append(message.text)
        elif isinstance(message, PaintDone):
            made.append(message)

    request = PaintRequest(
        SourceRef.of(order.source, fingerprint=order.fingerprint),
        "",
        str(report),
        replace(order.effect, image=write_sticker(order.effect.image, pieces)),
        folder=str(pieces),
        outlines=str(outlines),
        film=str(part),
        face_px=order.face_px,
    )
    yield from progress.run(request, order.strips[0][1], number, receive, span)
    painted = Path(json.loads(report.read_text(encoding="utf-8"))["film"])
    fingerprint = compute_fingerprint(painted)
    final = _name_film(folder, f"{order.key}-{look}-{digest[:8]}", painted.suffix, fingerprint)
    if not final.exists():
        place_file(painted, final, overwrite=False)
    return BakedFilm(order, final, fingerprint, digest, made[-1].frames)


def _name_film(folder: Path, stem: str, suffix: str, fingerprint: str) -> Path:
    """A free path for a film, or that of the same film, made by an earlier bake."""
    number = 1
    while True:
        path = folder / f"{stem if number == 1 else f'{stem}-{number}'}{suffix}"
        if not path.exists() or compute_fingerprint(path) == fingerprint:
            return path
        number += 1


def apply(result: BakeResult) -> tuple[list[str], list[str]]:
    """Let the strips show their films. Returns the names of these strips, and a sentence for each other one."""
    done, problems = [], []
    for film in result.films:
        order = film.order
        remember_source(order.key, order.source, order.written)
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
        if get_footage(strip).path != order.source:
            return "it shows another file by now"
    return "" if compute_stamp(mask, group) == order.stamp else "its mask was changed meanwhile"


def _switch(scene: bpy.types.Scene, strip: bpy.types.Strip, film: BakedFilm) -> None:
    """Make a covered or baked strip show a film, and remove its modifier and Mask strip."""
    order = film.order
    if is_baked(strip):
        record = replace(BakedRecord.load(strip), film=film.fingerprint, outlines=film.outlines, stamp=order.stamp)
        before = _find_film(strip)
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
    show_film(strip, written)
    record.save(strip)
    strip[MUST_BE_COVERED] = True
    if before is not None:
        _move_sound(before, film.path, written)


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
        raise FaceBlurError(f"'{strip.name}' cannot be unbaked, because its mask or its effect was deleted.")
    path, written = find_source(strip, record, source)
    film, name = _find_film(strip), strip.name
    # Cover first: a failure must not leave the source bare.
    cover_strip(scene, strip, record.mask, record.group)
    strip = scene.sequence_editor.strips_all[name]
    _place_modifier(scene, strip, record.place)
    show_film(strip, written)
    strip.use_proxy = record.use_proxy
    del strip[BAKED]
    if film is not None and not any(is_baked(other) and _find_film(other) == film for other in _list_strips()):
        _move_sound(film, path, written)


def find_source(strip: bpy.types.Strip, record: BakedRecord, source: Path | None = None) -> tuple[Path, str]:
    """The source of a baked strip, and how the project wrote its path. `source` is a path that the user chose.

    Raises FaceBlurError if it is not there, or has changed.
    """
    known = recall_source(record.key)
    places = [known[0] if known is not None else None, source]
    there = [path for path in places if path is not None and path.is_file()]
    if not there:
        raise FaceBlurError(
            f"The source of '{strip.name}' is not where it was, or not known on this computer. The strip stays baked. "
            "Choose the file to unbake it."
        )
    found = next((path for path in there if compute_fingerprint(path) == record.source), None)
    if found is None:
        raise FaceBlurError(
            f"{there[-1].name} is not the source of '{strip.name}', or was changed. The strip stays baked."
        )
    if known is not None and _resolve(known[1]) == found:
        return found, known[1]
    return found, bpy.path.relpath(str(found)) if known is not None and known[1].startswith("//") else str(found)


def is_source_there(strip: bpy.types.Strip) -> bool:
    """Whether the source of a baked strip is where it was, unchanged."""
    try:
        find_source(strip, BakedRecord.load(strip))
    except FaceBlurError:
        return False
    return True


def _place_modifier(scene: bpy.types.Scene, strip: bpy.types.Strip, place: int) -> None:
    """Move our modifier up to a position among the strip's modifiers."""
    modifier = get_modifier(strip)
    for _ in range(list(strip.modifiers).index(modifier) - place):
        with borrow_selection(scene, strip):
            bpy.ops.sequencer.strip_modifier_move(name=modifier.name, direction="UP")
        modifier = get_modifier(strip)


def show_film(strip: bpy.types.Strip, written: str) -> None:
    """Make a movie strip show another film of the same size, rate and length; its other settings stay the same."""
    space = strip.colorspace_settings.name
    strip.filepath = written
    strip.colorspace_settings.name = space


def _find_film(strip: bpy.types.Strip) -> Path | None:
    """The film that a strip shows; None if it is missing."""
    try:
        return get_shown_footage(strip).path
    except FaceBlurError:
        return None


def _move_sound(old: Path, new: Path, written: str) -> None:
    """Make sound strips play the sound of a film instead of the same sound in another."""
    for sound in bpy.data.sounds:
        if sound.library is None and sound.packed_file is None and _resolve(sound.filepath) == old:
            sound.filepath = written
    shown = [strip for strip in _list_strips() if strip.type in KINDS and _find_film(strip) == old]

    def visit(owner: bpy.types.ID, path: str, _: object) -> str | None:
        is_old = isinstance(owner, bpy.types.Scene) and owner.library is None and _resolve(path) == old
        return written if is_old else None

    if not shown:
        # A sound strip keeps the path that it was created with, besides its sound's own path.
        bpy.data.file_path_foreach(visit)


def _list_strips() -> Iterator[bpy.types.Strip]:
    for scene in bpy.data.scenes:
        if scene.sequence_editor is not None:
            yield from scene.sequence_editor.strips_all


def _resolve(path: str) -> Path:
    return Path(bpy.path.abspath(path))

# SPDX-License-Identifier: GPL-3.0-or-later
"""Make covered films and pictures: another Blender evaluates the masks, and a worker paints."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from pathlib import Path

import bpy

from ...batch.rendering import run_blender_job
from ...files.workplace import Workplace
from ...painting.outlines import OutlineTimeline, read_outlines
from ...worker.protocol import Message, PaintDone, PaintRequest, SourceRef, Warned
from ..common.footage import Footage
from ..common.jobs import JobProgress, Step
from .effects import write_sticker
from .orders import BakeOrder
from .outlines import write_masks

EVALUATION_SHARE = 0.1
"""Share of the progress bar for the evaluation of the masks."""

_LONGEST_END_S = 10.0

Steps = Generator[Step | None, None, None]


@dataclass(slots=True)
class PaintedFootage:
    """What was made for an order, under a temporary name. `outlines` says what it covers, see
    `OutlineTimeline.digest`; `painted` is the number of pictures that were painted now, not by an earlier bake."""

    order: BakeOrder
    footage: Footage
    outlines: str
    painted: int


@dataclass(slots=True)
class Painting:
    """What happens while orders are painted."""

    deliver: Callable[[PaintedFootage], None]
    """Called with each finished film, to move it into place."""
    digests: dict[str, tuple[str, int]] = field(default_factory=dict)
    """What the masks covered, by name (`OutlineTimeline.digest`), and how often they had been edited then."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user."""


def name_look(order: BakeOrder) -> str:
    """A name for what, besides source and mask, decides how a film looks."""
    return hashlib.sha256(json.dumps([astuple(order.effect), order.face_px]).encode()).hexdigest()[:8]


def name_pieces(folder: Path, order: BakeOrder) -> Path:
    """The folder of an order's pieces, beside its film in `folder`."""
    return folder / f"{order.key}-{name_look(order)}.pieces"


def paint_orders(
    orders: Sequence[BakeOrder],
    painting: Painting,
    folder: Path,
    pieces: Path,
    workplace: Workplace,
    wait_s: float | None,
) -> Steps:
    """Paint those of the orders whose covers differ from `BakeOrder.known`, with unfinished films in `folder`, and the
    pieces of films in `pieces`.

    Yields the progress, and with `wait_s` None whenever nothing has happened for that long. Closing the generator ends
    all processes. Raises FaceBlurError.
    """
    outlines = yield from _evaluate(orders, workplace.folder, wait_s)
    progress, total, done = JobProgress(len(orders), wait_s), sum(order.frames for order in orders), 0
    for number, (order, path) in enumerate(zip(orders, outlines, strict=True), 1):
        share = (1 - EVALUATION_SHARE) / total
        span = (EVALUATION_SHARE + done * share, EVALUATION_SHARE + (done + order.frames) * share)
        done += order.frames
        digest = OutlineTimeline(read_outlines(path), 1.0).digest()
        painting.digests[order.mask] = digest, order.edits
        if digest == order.known:
            continue
        part, report = workplace.name_part(folder / order.key, ""), workplace.folder / f"film-{number}.json"
        run = partial(progress.run, number=number, span=span)
        footage, painted, notes = yield from _paint(order, path, part, name_pieces(pieces, order), report, run)
        painting.notes += notes
        painting.deliver(PaintedFootage(order, footage, digest, painted))


def _paint(
    order: BakeOrder, outlines: Path, part: Path, pieces: Path, report: Path, run: Callable[..., Steps]
) -> Generator[Step | None, None, tuple[Footage, int, list[str]]]:
    """Paint one order. Returns the film, how many of its pictures were painted now, and sentences for the user."""
    notes: list[str] = []
    made: list[PaintDone] = []

    def receive(message: Message) -> None:
        if isinstance(message, Warned):
            notes.append(message.text)
        elif isinstance(message, PaintDone):
            made.append(message)

    request = PaintRequest(
        SourceRef.of(order.source.path, order.source.files, fingerprint=order.fingerprint),
        "",
        str(report),
        replace(order.effect, image=write_sticker(order.effect.image, pieces)),
        folder=str(pieces),
        outlines=str(outlines),
        film=str(part),
        face_px=order.face_px,
    )
    yield from run(request, order.strips[0][1], on_message=receive)
    painted = json.loads(report.read_text(encoding="utf-8"))
    return Footage(Path(painted["film"]), tuple(painted["files"])), made[-1].frames, notes


def _evaluate(
    orders: Sequence[BakeOrder], folder: Path, wait_s: float | None
) -> Generator[Step | None, None, list[Path]]:
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
            report(Step(name, 1, count, stage, done, total, EVALUATION_SHARE * done / total, None))

        run_blender_job(job, folder, blender, on_progress, lambda text: None)

    with closing(run_in_thread(work, wait_s)) as steps:
        yield from steps
    return [paths[order.mask] for order in orders]


class _Stopped(Exception):
    """The job was cancelled."""


def run_in_thread(
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

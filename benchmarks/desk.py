# SPDX-License-Identifier: GPL-3.0-or-later
"""What a timeline of several films costs an editor, through the operators themselves: build.py bench desk [PORTRAITS].

Films as those of `bench effort`, with different people, stand in a row in the sequencer, the last one at half size.
*Detect Faces* analyses them. Then an editor who knows the truth works through the review by its keys: Enter, O and Y,
*One by One* for piles, and drags where a cover has to be moved or drawn. Every action is the real operator, in a
Blender without a window, so it says what the queue asks and what becomes of the answers, not how it feels.

Then the editor watches what nobody has watched, as the bar along the strips shows it, at twice the speed. A face that
shows for `NOTICED_S` is noticed: the editor goes back to it, draws a box around it and goes on. What the boxes change
must be watched again. Only after this is an editor certain, as no item leads to a face that the analysis never saw.

It prints the actions, the decisions, those that were wrong, and what the covers show before, after the review, and
after watching. An editor's time is `DECISION_S` for each decision, and beside it that of the keystroke-level model for
the actions; to be certain, the time of watching comes on top.

PORTRAITS is a folder as for `bench crowd`; without it all people are scikit-image's astronaut, mirrored or not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from blender_faceblur.core.review.groups import list_open
from blender_faceblur.core.review.queue import ReviewEntry
from blender_faceblur.core.types import Ellipse, FaceBlurError, TrackDocument, Verdict
from blender_faceblur.files.paths import set_user_folder
from tests.window.hand import BUTTON_S, KEY_S, POINT_S, THINK_S

from .accuracy import describe_machine, print_report
from .covers import TracksCover
from .crowd import read_sprites
from .effort import (
    DECISION_S,
    FACE_TALL_PX,
    HEIGHT,
    RATE,
    WIDTH,
    Appearance,
    Result,
    Truth,
    describe,
    find_track,
    is_exposed,
    judge,
    list_showing,
    measure,
    place_face,
    plan,
    write_film,
)

_MOST_STEPS = 2000
"""A review that takes more actions than this does not end."""
NOTICED_S = 0.25
"""For how long a face must show, in seconds of the editor's time, to be noticed. A guess."""
_MOST_TRIES = 6
"""How often the editor corrects one item before accepting what is left."""


@dataclass(slots=True)
class Actions:
    """What the editor did. A decision is one answer to the question of an item, or one correction of a cover."""

    keys: int = 0
    clicks: int = 0
    drags: int = 0
    decisions: int = 0
    jumps: int = 0
    """How often the next item was in another strip."""
    watched_s: float = 0.0
    """The editor's time for watching."""
    noticed: int = 0
    """How often a face that showed was noticed by watching."""
    by_operator: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Decisions that left a face uncovered, uncovered one, or covered what is none."""

    def describe_time(self) -> str:
        hands = KEY_S * self.keys + (POINT_S + BUTTON_S) * self.clicks + (2 * POINT_S + BUTTON_S) * self.drags
        return (
            f"{DECISION_S * self.decisions:.0f} s at {DECISION_S:g} s a decision; "
            f"{hands + THINK_S * self.decisions:.0f} s by the keystroke-level model"
        )


@dataclass(frozen=True, slots=True)
class PlannedFilm:
    """A film of the timeline and who is seen in it."""

    path: Path
    planned: list[Appearance]
    frames: int


class Editor:
    """Works on the open project by its operators, and knows the truth."""

    def __init__(self, films: dict[str, PlannedFilm]) -> None:
        import bpy

        self.scene, self.films = bpy.context.scene, films
        self.done = Actions()
        self._tries: Counter[tuple[str, str]] = Counter()

    def review(self) -> None:
        """Work through the whole queue. Raises FaceBlurError if it does not end."""
        import bpy

        from blender_faceblur.blender.review.queue import count_left

        if not count_left(self.scene):
            return
        # Ctrl+Shift+Alt+R begins the review.
        self.done.keys += 1
        self._act(bpy.ops.faceblur.review_next)
        for _ in range(_MOST_STEPS):
            if not count_left(self.scene):
                return
            before = self.scene.sequence_editor.active_strip.name
            self._decide()
            self.done.jumps += self.scene.sequence_editor.active_strip.name != before
        raise FaceBlurError("The review does not end.")

    def watch(self) -> None:
        """Watch what nobody has watched, and cover what shows there. Raises FaceBlurError if it does not end."""
        from blender_faceblur.blender.cover.strips import get_mask
        from blender_faceblur.blender.masks.overlay_cache import refresh_overview
        from blender_faceblur.blender.review.watched import compute_scene_watch, find_unwatched

        first, stop = int(self.scene.frame_start), int(self.scene.frame_end) + 1
        for _ in range(_MOST_STEPS):
            for _, strip in self._list_strips():
                refresh_overview(get_mask(strip))
            left = find_unwatched(compute_scene_watch(self.scene), first, first, stop, 0)
            if left is None:
                return
            # The space bar, and again where something is noticed.
            self.done.keys += 1
            found = self._play(*left)
            if found is not None:
                self.done.keys += 1
                self.done.noticed += 1
                self._cover_noticed(*found)
        raise FaceBlurError("Watching does not end.")

    def _list_strips(self) -> list[tuple[str, Any]]:
        return [(name, self.scene.sequence_editor.strips_all[name]) for name in self.films]

    def _play(self, start: int, stop: int) -> tuple[Any, Appearance, int] | None:
        """Play timeline frames at the largest speed that counts as watching, until a face is noticed that shows.

        Returns its strip, and the timeline frame in which it was seen first.
        """
        from blender_faceblur.blender.common.footage import get_frame_rate
        from blender_faceblur.blender.cover.strips import get_mask
        from blender_faceblur.blender.masks.document import load_document
        from blender_faceblur.blender.overlay.watching import list_watchable
        from blender_faceblur.blender.review.watched import FASTEST, end_playback, note_shown

        rate = get_frame_rate(self.scene)
        speed = FASTEST * rate
        covers = {name: TracksCover(load_document(get_mask(strip)), 0.0) for name, strip in self._list_strips()}
        since: dict[tuple[str, Appearance], int] = {}
        found = None
        for frame in range(start, stop):
            self.scene.frame_set(frame)
            note_shown(frame, rate, list_watchable(self.scene), self.done.watched_s)
            self.done.watched_s += 1 / speed
            for name, strip in self._list_strips():
                if not strip.frame_final_start <= frame < strip.frame_final_end:
                    continue
                showing = list_showing(covers[name], self.films[name].planned, frame - int(strip.frame_start))
                for one in self.films[name].planned:
                    if one not in showing or self._tries[name, str(one)] >= _MOST_TRIES:
                        since.pop((name, one), None)
                    elif frame - since.setdefault((name, one), frame) + 1 >= NOTICED_S * speed:
                        found = strip, one, since[name, one]
            if found is not None:
                break
        end_playback(self.done.watched_s)
        return found

    def _cover_noticed(self, strip: Any, one: Appearance, frame: int) -> None:
        """Draw a box around a face that has no cover."""
        import bpy

        self._tries[strip.name, str(one)] += 1
        self.scene.sequence_editor.active_strip = strip
        self.scene.frame_set(frame)
        face = place_face(one, frame - int(strip.frame_start)).ellipse
        self.done.decisions += 1
        # The playhead back to it, and the box.
        self.done.drags += 2
        box = face.cx - face.rx, face.cy - face.ry, face.cx + face.rx, face.cy + face.ry
        self._act(bpy.ops.faceblur.add, box=box, kind="FACE", extent="FOLLOW")

    def _decide(self) -> None:
        import bpy

        from blender_faceblur.blender.cover.strips import get_mask
        from blender_faceblur.blender.masks.document import load_document
        from blender_faceblur.blender.review.queue import get_current

        strip = self.scene.sequence_editor.active_strip
        entry = get_current(get_mask(strip))
        if entry is None or entry.verdict:
            self._press(bpy.ops.faceblur.review_next)
            return
        document, truth = load_document(get_mask(strip)), Truth(self.films[strip.name].planned)
        verdicts = [(one, judge(document, one, truth)) for one in list_open(entry) if not one.verdict]
        kinds = {verdict for _, verdict in verdicts}
        self.done.decisions += 1
        if entry.pile is not None and len(kinds) > 1:
            self.done.clicks += 1
            self._act(bpy.ops.faceblur.review_open)
        elif Verdict.COVERED in kinds:
            needless = sum(verdict is Verdict.UNCOVERED for _, verdict in verdicts)
            self.done.wrong += [f"{strip.name}: covered what is no face"] * needless
            self._press(bpy.ops.faceblur.review_cover)
        elif self._tries[strip.name, entry.key] < _MOST_TRIES and kinds & {Verdict.FIXED, Verdict.TURNED_OFF}:
            self._tries[strip.name, entry.key] += 1
            one, verdict = next(pair for pair in verdicts if pair[1] in (Verdict.FIXED, Verdict.TURNED_OFF))
            if verdict is Verdict.FIXED:
                self._draw(document, one, truth)
            else:
                self._switch_off(strip, document, entry, one, truth)
        else:
            left = kinds & {Verdict.FIXED, Verdict.TURNED_OFF}
            self.done.wrong += [f"{strip.name}: accepted, but {verdict}" for verdict in left]
            self._press(bpy.ops.faceblur.review_fine)

    def _switch_off(
        self, strip: Any, document: TrackDocument, entry: ReviewEntry, one: ReviewEntry, truth: Truth
    ) -> None:
        import bpy

        track = find_track(document, one.track)
        start, stop = one.off_frames
        if track is not None and any(
            start <= s.source_frame < stop and truth.find(s.source_frame, s.ellipse.cx, s.ellipse.cy) is not None
            for s in track.samples
        ):
            self.done.wrong.append(f"{strip.name}: uncovered a face")
        if one is entry:
            self._press(bpy.ops.faceblur.review_off)
            return
        # O takes the first place of the item; another face of it is clicked, and its menu has Delete.
        self.done.clicks += 2
        self._act(bpy.ops.faceblur.choose_face, strip=strip.name, layer=one.track)
        self._act(bpy.ops.faceblur.delete_face)

    def _draw(self, document: TrackDocument, one: ReviewEntry, truth: Truth) -> None:
        """Drag the cover of a face to where the face is, or draw a box over a face without a cover."""
        import bpy

        from blender_faceblur.blender.common.footage import find_timeline_frame

        strip = self.scene.sequence_editor.active_strip
        track = find_track(document, one.track)
        # Where the cover is off, as near as possible to the frame that the review goes to.
        samples = [] if track is None else [s for s in track.samples if one.start <= s.source_frame < one.stop]
        off = sorted(
            (s for s in samples if is_exposed(document, s, truth)), key=lambda s: abs(s.source_frame - one.frame)
        )
        frame = off[0].source_frame if off else one.frame
        middle = (one.box[0] + one.box[2]) / 2, (one.box[1] + one.box[3]) / 2
        face = truth.find(frame, *((off[0].ellipse.cx, off[0].ellipse.cy) if off else middle))
        self.done.drags += 1
        self._act(bpy.ops.faceblur.review_fix)
        shown = find_timeline_frame(strip, [(frame, frame + 1)], document.source.frame_count)
        if face is None or shown is None:
            return
        if shown != self.scene.frame_current:
            # The playhead, dragged along the timeline.
            self.done.drags += 1
            self.scene.frame_set(shown)
        ellipse = face.ellipse
        if track is None:
            box = ellipse.cx - ellipse.rx, ellipse.cy - ellipse.ry, ellipse.cx + ellipse.rx, ellipse.cy + ellipse.ry
            self._act(bpy.ops.faceblur.add, box=box, kind="FACE", extent="FOLLOW")
        else:
            cover: Ellipse = ellipse.scaled(document.margin)
            self._act(
                bpy.ops.faceblur.set_cover,
                center=(cover.cx, cover.cy),
                radii=(cover.rx, cover.ry),
                angle=cover.angle,
                track=one.track,
            )

    def _press(self, operator: Any) -> None:
        self.done.keys += 1
        self._act(operator)

    def _act(self, operator: Any, **options: Any) -> None:
        """Run an operator as an undo step. Raises FaceBlurError if it refuses."""
        name = operator.idname_py()
        self.done.by_operator[name] += 1
        try:
            result = operator("EXEC_DEFAULT", True, **options)
        except RuntimeError as error:
            raise FaceBlurError(f"{name}: {error}") from error
        if result != {"FINISHED"}:
            raise FaceBlurError(f"{name} was cancelled.")


def build_timeline(films: Sequence[PlannedFilm]) -> dict[str, PlannedFilm]:
    """Put the films into a new project, one after another, the last one at half size. Returns them by strip."""
    import bpy

    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.fps, scene.render.fps_base = RATE.numerator, RATE.denominator
    bpy.context.workspace.sequencer_scene = scene
    strips = scene.sequence_editor_create().strips
    start, named = 1, {}
    for film in films:
        strip = strips.new_movie(film.path.stem, str(film.path), 1, start)
        strip.select = True
        start += strip.frame_final_duration
        named[strip.name] = film
    strip.transform.scale_x = strip.transform.scale_y = 0.5
    scene.sequence_editor.active_strip = strips[films[0].path.stem]
    scene.frame_end = start - 1
    return named


def measure_all(films: dict[str, PlannedFilm]) -> Result:
    """What the covers of all strips show of the faces."""
    import bpy

    from blender_faceblur.blender.cover.strips import get_mask
    from blender_faceblur.blender.masks.document import load_document

    exposed: dict[Appearance, int] = {}
    phantoms = 0
    for number, (name, film) in enumerate(films.items()):
        strip = bpy.context.scene.sequence_editor.strips_all[name]
        result = measure(load_document(get_mask(strip)), film.planned)
        # Two films may have the same appearance.
        exposed |= {replace(one, who=1000 * number + one.who): frames for one, frames in result.exposed.items()}
        phantoms += result.phantoms
    return Result(exposed, phantoms)


def write_films(options: argparse.Namespace, folder: Path) -> list[PlannedFilm]:
    sprites = read_sprites(options.portraits, options.people, FACE_TALL_PX)
    minutes = options.minutes / options.films
    frames, films = round(60 * minutes * float(RATE)), []
    for number in range(options.films):
        seed, path = options.seed + number, folder / f"film {number + 1}.mp4"
        # Each film has its own people, as far as there are enough.
        planned = [
            replace(one, who=(one.who + 7 * number) % options.people) for one in plan(options.people, minutes, seed)
        ]
        write_film(path, sprites, planned, frames, seed)
        films.append(PlannedFilm(path, planned, frames))
    return films


def run(options: argparse.Namespace) -> Iterator[str]:
    """The lines of the report. Raises FaceBlurError."""
    import bpy

    import blender_faceblur
    from blender_faceblur.blender.review.queue import count_large_left, count_left, list_queue

    yield from describe_machine()
    with tempfile.TemporaryDirectory() as place:
        films = write_films(options, Path(place))
        appearances = sum(len(film.planned) for film in films)
        yield f"{len(films)} films, {options.minutes:g} minutes in all, {appearances} appearances, seed {options.seed}"
        bpy.ops.wm.read_factory_settings(use_empty=True)
        blender_faceblur.register()
        # Stored analyses of an earlier run would be taken.
        set_user_folder(Path(place))
        try:
            named = build_timeline(films)
            scene = bpy.context.scene
            scene.faceblur.preset = options.preset
            began = time.monotonic()
            if bpy.ops.faceblur.detect() != {"FINISHED"}:
                raise FaceBlurError("Detect Faces was cancelled.")
            yield f"Detect Faces ({options.preset}): {time.monotonic() - began:.0f} s of the machine"
            bpy.ops.ed.undo_push(message="detected")
            yield f"before the review: {describe(measure_all(named))}"
            order = [item.strips[0] for item in list_queue(scene)]
            yield f"queue: {count_left(scene)} items, {count_large_left(scene)} large; strips: {', '.join(order)}"
            editor = Editor(named)
            began = time.monotonic()
            editor.review()
            done = editor.done
            yield (
                f"review: {done.decisions} decisions, {done.keys} keys, {done.clicks} clicks, {done.drags} drags, "
                f"{done.jumps} times on to another strip; {done.describe_time()}; {time.monotonic() - began:.0f} s of "
                "the machine"
            )
            yield "operators: " + ", ".join(f"{count} {name}" for name, count in sorted(done.by_operator.items()))
            yield f"wrong decisions: {len(done.wrong)}" + "".join(
                f"; {count} x {what}" for what, count in sorted(Counter(done.wrong).items())
            )
            yield f"after the review: {describe(measure_all(named))}; {count_left(scene)} items left"
            minutes, frames = DECISION_S * done.decisions / 60, scene.frame_end + 1 - scene.frame_start
            yield f"decisions only: {minutes:.1f} minutes"
            editor.watch()
            certain = (DECISION_S * done.decisions + done.watched_s) / 60
            yield (
                f"watching: {frames / float(RATE):.0f} s of film in {done.watched_s:.0f} s, {done.noticed} times "
                f"noticed that a face shows; decisions and watching, until certain: {certain:.1f} minutes"
            )
            yield f"after watching: {describe(measure_all(named))}"
        finally:
            set_user_folder(None)
            blender_faceblur.unregister()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="build.py bench desk", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("portraits", nargs="?", type=Path, help="a folder of pictures with one face each")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of all films together (default 2)")
    parser.add_argument("--films", type=int, default=4)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--preset", default="balanced")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    return print_report(run(parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())

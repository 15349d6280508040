# SPDX-License-Identifier: GPL-3.0-or-later
"""How many decisions a film takes until an editor is certain: build.py bench effort [PORTRAITS] [--minutes N].

A film is made in which people appear one after another, as many of them hard to see: dim, turned, half hidden, brief.
Drawn masks and patches of cloth are there to be taken for faces. It is analysed as by the extension. Then an editor who
knows the truth goes through the review queue as the window shows it: one decision for each item, two where a cover has
to be drawn, one for a pile that can be decided as a whole, and one to open it otherwise. Each takes `DECISION_S`.

The film shows what remains: faces that no item led to, which an editor finds only by watching, and covers of what is no
face. To be certain, an editor must also watch all of it, at most `FASTEST_WATCHED` times as fast, and decide once more
for each face that shows then; `bench desk` does that. Decisions are counted, not clicked; the stories of `tests/window`
count clicks and keys.

PORTRAITS is a folder as for `bench crowd`; without it all people are scikit-image's astronaut, mirrored or not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.document import editing
from blender_faceblur.core.review.groups import list_open, list_review_groups
from blender_faceblur.core.review.queue import ReviewEntry, record_verdict
from blender_faceblur.core.review.timeline import FilmInTimeline, rank_timeline
from blender_faceblur.core.types import Ellipse, Evidence, Sample, Track, TrackDocument, Verdict

from .accuracy import describe_machine, print_report
from .annotations import CLEAR, HARD, TrueFace
from .covers import Mask, TracksCover, analyse
from .crowd import Sprite, paste, read_sprites
from .portraits import FACE_HEIGHT, FACE_PX, TILE_PX, compute_middle
from .scoring import COVERED, draw_ellipse

WIDTH, HEIGHT, RATE = 640, 360, Fraction(25, 2)
FACE_TALL_PX = 64.0
DECISION_S = 2.0
"""The time that an editor takes for one decision, by the goal that this bench measures."""
FASTEST_WATCHED = 2.0
"""The largest speed at which frames count as watched: that of the extension (`blender/review/watched.py`)."""
_FACE_WIDE_SHARE = 0.5 / FACE_HEIGHT
_SHOT_S = (6.0, 14.0)
_BRIEF_FRAMES = 3
_FAR_SCALE = 0.22
_DIM = 0.12
_TURN_DEGREES = 75.0


class Look(StrEnum):
    """How a person appears."""

    CLEAR = "clear"
    DIM = "dim"
    TURNED = "turned"
    HALF = "half hidden"
    BRIEF = "brief"
    FAR = "far away"


@dataclass(frozen=True, slots=True)
class Appearance:
    """One person in the film. Frames are half-open, places are pixels."""

    who: int
    look: Look
    start: int
    stop: int
    x: float
    y: float
    phase: float

    def place(self, frame: int) -> tuple[float, float]:
        t = (frame - self.start) / float(RATE)
        return self.x + 30 * np.sin(0.8 * t + self.phase), self.y + 12 * np.sin(1.3 * t + self.phase)


@dataclass(slots=True)
class Effort:
    """What an editor had to do."""

    decisions: int = 0
    items: int = 0
    piles: int = 0
    opened: int = 0
    drawn: int = 0
    by_verdict: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What a cover shows of the faces, and what it covers besides."""

    exposed: dict[Appearance, int]
    """The frames in which each appearance is not covered."""
    phantoms: int
    """Covered tracks that lie on no face in most of the frames in which they were detected."""


def plan(people: int, minutes: float, seed: int) -> list[Appearance]:
    """Who is seen when, in shots of one to three people; every third appearance is hard to see."""
    rng, frames = np.random.default_rng(seed), round(minutes * 60 * float(RATE))
    hard = [look for look in Look if look is not Look.CLEAR]
    planned: list[Appearance] = []
    start = number = 0
    while start < frames:
        stop = min(start + round(rng.uniform(*_SHOT_S) * float(RATE)), frames)
        count = int(rng.integers(1, 4))
        for place in range(count):
            look = hard[number // 3 % len(hard)] if number % 3 == 2 else Look.CLEAR
            first, last = start, stop
            if look is Look.BRIEF:
                first = start + int(rng.integers(0, max(stop - start - _BRIEF_FRAMES, 1)))
                last = min(first + _BRIEF_FRAMES, stop)
            x = (place + 0.5) / count * WIDTH
            planned.append(
                Appearance(number % people, look, first, last, x, rng.uniform(110, 230), rng.uniform(0, 2 * np.pi))
            )
            number += 1
        start = stop
    return planned


def place_face(one: Appearance, frame: int) -> TrueFace:
    x, y = one.place(frame)
    angle = np.radians(_TURN_DEGREES) if one.look is Look.TURNED else 0.0
    tall = FACE_TALL_PX * (_FAR_SCALE if one.look is Look.FAR else 1)
    # A head's face is not quite in its middle.
    dx, dy = (tall / (FACE_PX * FACE_HEIGHT) * (at - TILE_PX / 2) for at in compute_middle())
    c, s = np.cos(angle), np.sin(angle)
    ellipse = Ellipse(x + dx * c - dy * s, y + dx * s + dy * c, tall * _FACE_WIDE_SHARE, tall / 2, angle)
    return TrueFace(CLEAR if one.look is Look.CLEAR else HARD, ellipse, one.who + 1)


def list_true_faces(planned: Sequence[Appearance], frame: int) -> list[TrueFace]:
    return [place_face(one, frame) for one in planned if one.start <= frame < one.stop]


def write_film(path: Path, sprites: Sequence[Sprite], planned: Sequence[Appearance], frames: int, seed: int) -> None:
    import av

    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        target: Any = container.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "veryfast"})
        target.width, target.height, target.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        behind: NDArray[np.float32] | None = None
        cuts = {one.start for one in planned if one.look is not Look.BRIEF}
        for index in range(frames):
            if behind is None or index in cuts:
                behind = _draw_behind(rng, sprites)
            picture = behind.copy()
            for one in planned:
                if one.start <= index < one.stop:
                    x, y = one.place(index)
                    paste(picture, _draw_look(sprites[one.who], one.look), x, y)
                    if one.look is Look.HALF:
                        picture[_find_bar(x, y)] = 70
            frame = av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), format="bgr24")
            frame.pts, frame.time_base = index, 1 / RATE
            container.mux(target.encode(frame))
        container.mux(target.encode(None))


def _find_bar(x: float, y: float) -> tuple[slice, slice]:
    """Rows and columns of what hides the lower half of a face."""
    top, left = round(y - 4), round(x - FACE_TALL_PX)
    return slice(max(top, 0), max(top + 60, 0)), slice(max(left, 0), max(left + round(2 * FACE_TALL_PX), 0))


def _draw_behind(rng: np.random.Generator, sprites: Sequence[Sprite]) -> NDArray[np.float32]:
    """A new background: soft noise, sometimes with a drawn mask, sometimes with a patch of somebody's cloth."""
    noise = rng.normal(0, 1, (HEIGHT // 8, WIDTH // 8, 3)).astype(np.float32)
    behind = 105 + 25 * np.asarray(cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.float32)
    x, y = int(rng.uniform(60, WIDTH - 60)), int(rng.uniform(280, HEIGHT - 40))
    if rng.random() < 0.5:
        cv2.ellipse(behind, (x, y), (24, 30), 0, 0, 360, (150, 175, 205), -1, cv2.LINE_AA)
        for side in (-9, 9):
            cv2.circle(behind, (x + side, y - 8), 4, (40, 40, 40), -1, cv2.LINE_AA)
        cv2.ellipse(behind, (x, y + 13), (10, 4), 0, 0, 360, (60, 60, 140), -1, cv2.LINE_AA)
    if rng.random() < 0.5:
        x = int(rng.uniform(60, WIDTH - 60))
        cloth = sprites[int(rng.integers(len(sprites)))].picture[-48:, 20:68]
        behind[y - 24 : y - 24 + len(cloth), x - 24 : x - 24 + cloth.shape[1]] = cloth[: HEIGHT - y + 24]
    return behind


def _draw_look(sprite: Sprite, look: Look) -> Sprite:
    if look is Look.DIM:
        return Sprite(_DIM * sprite.picture, sprite.matte)
    if look is Look.TURNED:
        side = len(sprite.matte)
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), -_TURN_DEGREES, 1)
        picture, matte = (
            np.asarray(cv2.warpAffine(part, turn, (side, side)), np.float32) for part in (sprite.picture, sprite.matte)
        )
        return Sprite(picture, matte)
    if look is Look.FAR:
        picture, matte = (
            np.asarray(cv2.resize(part, None, fx=_FAR_SCALE, fy=_FAR_SCALE, interpolation=cv2.INTER_AREA), np.float32)
            for part in (sprite.picture, sprite.matte)
        )
        return Sprite(picture, matte)
    return sprite


def review(document: TrackDocument, planned: Sequence[Appearance]) -> Effort:
    """Decide the whole queue by the truth, changing the document as the extension does."""
    effort, opened = Effort(), set[str]()
    truth = Truth(planned)
    while True:
        # The queue of a timeline that shows this film alone, as in the window.
        film = FilmInTimeline(
            list_review_groups(document, opened=opened), [(0, document.source.frame_count)], scale=1 / HEIGHT
        )
        entry = next((one.entry for one in rank_timeline([film]) if not one.entry.verdict), None)
        if entry is None:
            return effort
        verdicts = [(one, judge(document, one, truth)) for one in list_open(entry) if not one.verdict]
        if entry.pile is not None:
            if len({verdict for _, verdict in verdicts}) > 1:
                opened |= {one.key for one in (entry, *entry.members)}
                effort.opened += 1
                effort.decisions += 1
                continue
            effort.piles += 1
        effort.items += 1
        effort.decisions += 1
        _, first = verdicts[0]
        for one, verdict in verdicts:
            # A group is one decision. Items in it that need another one are decided on their own.
            if verdict is not first:
                effort.decisions += 1
            if verdict is Verdict.FIXED:
                effort.decisions += 1
                effort.drawn += 1
            _apply(document, one, verdict, truth)
            record_verdict(document, one.key, verdict)
            effort.by_verdict[verdict] = effort.by_verdict.get(verdict, 0) + 1


@dataclass(frozen=True, slots=True)
class Truth:
    planned: Sequence[Appearance]

    def find(self, frame: int, x: float, y: float) -> TrueFace | None:
        """The face whose ellipse, twice as large, holds a point."""
        for face in list_true_faces(self.planned, frame):
            e = face.ellipse
            if np.hypot((x - e.cx) / (2 * e.rx), (y - e.cy) / (2 * e.ry)) <= 1:
                return face
        return None


def judge(document: TrackDocument, entry: ReviewEntry, truth: Truth) -> Verdict:
    """What somebody who sees the film would decide about an item."""
    x, y = (entry.box[0] + entry.box[2]) / 2, (entry.box[1] + entry.box[3]) / 2
    track = find_track(document, entry.track)
    samples = [s for s in track.samples if entry.start <= s.source_frame < entry.stop] if track is not None else []
    if track is None or not samples:
        return Verdict.FIXED if truth.find(entry.frame, x, y) is not None else Verdict.CONFIRMED
    on_face = [s for s in samples if truth.find(s.source_frame, s.ellipse.cx, s.ellipse.cy) is not None]
    if track not in document.tracks:
        return Verdict.COVERED if on_face else Verdict.UNCOVERED
    if not on_face and not _has_face(track, truth):
        return Verdict.TURNED_OFF
    return Verdict.FIXED if any(is_exposed(document, s, truth) for s in on_face) else Verdict.CONFIRMED


def _has_face(track: Track, truth: Truth) -> bool:
    return any(truth.find(s.source_frame, s.ellipse.cx, s.ellipse.cy) is not None for s in track.samples[::5])


def is_exposed(document: TrackDocument, sample: Sample, truth: Truth) -> bool:
    """Whether a sample's cover leaves a part of its face out."""
    face = truth.find(sample.source_frame, sample.ellipse.cx, sample.ellipse.cy)
    if face is None:
        return False
    theirs = draw_ellipse(face.ellipse, (HEIGHT, WIDTH))
    cover = draw_ellipse(sample.ellipse.scaled(document.margin), (HEIGHT, WIDTH))
    return float((theirs & cover).sum()) < COVERED * int(theirs.sum())


def find_track(document: TrackDocument, name: str) -> Track | None:
    return next((t for t in (*document.tracks, *document.uncovered) if t.name == name), None)


def _apply(document: TrackDocument, entry: ReviewEntry, verdict: Verdict, truth: Truth) -> None:
    track = find_track(document, entry.track)
    if track is None:
        return
    if verdict is Verdict.COVERED and track in document.uncovered:
        editing.bring_back(document, track.name)
    elif verdict is Verdict.TURNED_OFF and track in document.tracks:
        editing.delete(document, track.name)
    elif verdict is Verdict.FIXED and track in document.tracks:
        face = truth.find(entry.frame, *get_middle(track, entry.frame))
        if face is not None:
            editing.set_key(track, entry.frame, face.ellipse, reach=max(entry.stop - entry.start, 1))


def get_middle(track: Track, frame: int) -> tuple[float, float]:
    sample = min(track.samples, key=lambda s: abs(s.source_frame - frame))
    return sample.ellipse.cx, sample.ellipse.cy


def measure(document: TrackDocument, planned: Sequence[Appearance]) -> Result:
    """Compare the document's covers with the truth in every frame."""
    cover, truth = TracksCover(document, 0.0), Truth(planned)
    exposed = dict.fromkeys(planned, 0)
    for frame in range(document.source.frame_count):
        for one in list_showing(cover, planned, frame):
            exposed[one] += 1
    phantoms = 0
    for track in document.tracks:
        # What is switched off covers nothing.
        shown = [s for s in track.samples if not any(start <= s.source_frame < stop for start, stop in track.off)]
        # Covers begin before and end after a face, which matters where it is brief.
        shown = [s for s in shown if s.evidence in (Evidence.DETECTED, Evidence.LOCKED)] or shown
        on_face = sum(truth.find(s.source_frame, s.ellipse.cx, s.ellipse.cy) is not None for s in shown)
        phantoms += bool(shown) and on_face < len(shown) / 2
    return Result(exposed, phantoms)


def list_showing(cover: TracksCover, planned: Sequence[Appearance], frame: int) -> list[Appearance]:
    """The faces that a frame shows although they should be covered."""
    mask, showing = cover.draw(frame), []
    for one in planned:
        if one.start <= frame < one.stop:
            area = _draw_face(one, frame)
            if mask is None or float((area & mask).sum()) < COVERED * int(area.sum()):
                showing.append(one)
    return showing


def _draw_face(one: Appearance, frame: int) -> Mask:
    """The visible part of a face."""
    area = draw_ellipse(place_face(one, frame).ellipse, (HEIGHT, WIDTH))
    if one.look is Look.HALF:
        area[_find_bar(*one.place(frame))] = 0
    return area


def describe(result: Result) -> str:
    shown = [one for one, frames in result.exposed.items() if frames]
    looks = ", ".join(
        f"{count} {look} ({sum(result.exposed[one] for one in shown if one.look is look)} frames)"
        for look in Look
        if (count := sum(one.look is look for one in shown))
    )
    return f"appearances that show: {looks or 'none'}; {result.phantoms} covered tracks on no face"


def run(options: argparse.Namespace) -> Iterator[str]:
    """The lines of the report."""
    minutes = float(options.minutes)
    planned = plan(options.people, minutes, options.seed)
    sprites = read_sprites(options.portraits, options.people, FACE_TALL_PX)
    yield from describe_machine()
    looks = ", ".join(f"{sum(one.look is look for one in planned)} {look}" for look in Look)
    yield f"film: {minutes:g} minutes, {options.people} people, seed {options.seed}; appearances: {looks}"
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        write_film(film, sprites, planned, round(minutes * 60 * float(RATE)), options.seed)
        document, seconds = analyse(film, options.preset)
    yield f"analysis ({options.preset}): {seconds:.0f} s; {len(document.tracks)} tracks"
    yield f"before the review: {describe(measure(document, planned))}"
    effort = review(document, planned)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(effort.by_verdict.items()))
    yield (
        f"review: {effort.items} items ({effort.piles} piles, {effort.opened} opened), {effort.decisions} decisions, "
        f"{effort.drawn} covers drawn; verdicts: {verdicts or 'none'}"
    )
    took = effort.decisions * DECISION_S / 60
    yield f"at {DECISION_S:g} s a decision: {took:.1f} minutes, {took / minutes:.2f} of the film's length"
    after = measure(document, planned)
    yield f"after the review: {describe(after)}"
    watching = minutes / FASTEST_WATCHED
    found = sum(frames > 0 for frames in after.exposed.values())
    certain = took + watching + found * DECISION_S / 60
    yield f"watching all of it: {watching:.1f} minutes, {found} faces to cover; until certain: {certain:.1f} minutes"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="build.py bench effort", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("portraits", nargs="?", type=Path, help="a folder of pictures with one face each")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--preset", default="balanced")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    return print_report(run(parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())

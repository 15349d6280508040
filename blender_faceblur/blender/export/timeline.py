# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a scene's timeline as an OpenTimelineIO file that refers only to covered footage.

Each channel becomes a track, a meta strip a nested stack, and a constant speed a time warp. What the format, or this
module, does not know is left out and named. A strip whose footage would show faces stops the export: it has to be baked
first, or left uncovered on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ...core.translation import mark, translate
from ...core.types import FaceBlurError
from ...delivery.remux import read_timecode
from ...exchange.timeline import ENDING, Item, Lane, Media, Timeline, format_timeline, parse_timecode, split_number
from ...files.workplace import Workplace, place_file
from ..common.footage import KINDS, get_shown_footage
from ..common.marks import get_modifier
from ..cover.baked import is_baked
from ..cover.covering import UNCOVERED_ON_PURPOSE
from ..guard.checks import asks_for_review, check_strip
from ..masks.record import has_record

_SAME_SPEED_FRAMES = 1.0
"""A strip without speed keys whose length differs by less from that of its media, in frames of the scene, has its
media's own speed: Blender rounds its length to whole frames."""


(
    _OUTSIDE,
    _NO_FILE,
    _SEVERAL_SPEEDS,
    _MUTED,
    _NOT_NUMBERED,
    _NO_SOUND_FILE,
    _SOUND_LOOK,
    _BACKWARDS,
    _LOOK,
    _BACKWARDS_META,
    _UNCOVERED,
) = mark(
    (
        "Not in the file, because they are outside the scene's frame range: {names}.",
        "Not in the file, because they have no file of their own: {names}.",
        "Not in the file, because they have several speeds: {names}.",
        "Not in the file, because they are muted and not baked: {names}.",
        "Not in the file, because their pictures are not numbered one by one: {names}.",
        "Not in the file, because their sound is not in a file: {names}.",
        "Volume, panning and modifiers of these strips are not in the file: {names}.",
        "Look at the beginning of these strips, which run backwards: {names}.",
        "Position, size, cropping, colours and opacity are not in the file: {names}.",
        "Not in the file, because they run backwards: {names}.",
        "Left uncovered on purpose: {names}.",
    )
)


@dataclass(slots=True)
class ExportedTimeline:
    """The result. `notes` are sentences for the user about what is not in the file."""

    path: Path
    clips: int = 0
    notes: list[str] = field(default_factory=list)


def export_timeline(scene: bpy.types.Scene, path: Path, overwrite: bool = False) -> ExportedTimeline:
    """Write what a render of the scene's frame range shows to `path`, whose ending becomes .otio.

    Raises FaceBlurError, which names the strips, if the file would refer to footage in which faces show, and if the
    file exists without `overwrite` or cannot be written.
    """
    path = path.with_name(path.name if path.suffix.lower() == ENDING else path.name + ENDING)
    if path.exists() and not overwrite:
        raise FaceBlurError(translate("{there} already exists. Choose another folder, or Overwrite.", there=path))
    if scene.sequence_editor is None:
        raise FaceBlurError("There are no strips")
    reading = _Reading(scene)
    timeline = reading.read()
    if reading.problems:
        raise FaceBlurError("\n".join(["The timeline was not written.", *reading.problems]))
    with Workplace() as workplace:
        part = workplace.name_part(path, ENDING)
        try:
            part.write_text(format_timeline(timeline), encoding="utf-8")
        except OSError as error:
            raise FaceBlurError(
                translate("{final} cannot be written: {strerror}.", final=path, strerror=error.strerror)
            ) from error
        place_file(part, path, overwrite)
    return ExportedTimeline(path, reading.clips, reading.list_notes())


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a media file says about itself."""

    has_pictures: bool
    seconds: float
    frame_count: int
    """0 if the file does not say it."""
    first_s: float
    """The timecode at its beginning, in seconds that have a whole number of frames."""


class _Reading:
    """One reading of a scene's timeline."""

    def __init__(self, scene: bpy.types.Scene) -> None:
        self.problems: list[str] = []
        self.clips = 0
        self._scene = scene
        self._rate = Fraction(scene.render.fps) / Fraction(scene.render.fps_base).limit_denominator(1001)
        self._unbaked: list[str] = []
        self._notes: dict[str, list[str]] = {}
        self._facts: dict[Path, _Facts] = {}
        self._shown_films: set[Path] = set()
        """Films that strips of this timeline may show, so that sound may come from them too."""

    def read(self) -> Timeline:
        """The timeline; what is wrong is in `problems` afterwards."""
        scene, editor = self._scene, self._scene.sequence_editor
        start, stop = scene.frame_start, scene.frame_end + 1
        self._shown_films = set(self._list_shown_films(editor.strips_all))
        timeline = self._read_strips(scene.name, editor.strips, editor.channels, start, stop)
        timeline.markers = [
            (marker.frame - start, marker.name)
            for marker in sorted(scene.timeline_markers, key=lambda one: one.frame)
            if start <= marker.frame < stop
        ]
        if self._unbaked:
            self.problems.insert(
                0,
                translate(
                    "These strips are covered but not baked, so the file would refer to their uncovered footage: "
                    "{names}. Use Bake Covers first.",
                    names=", ".join(self._unbaked),
                ),
            )
        return timeline

    def list_notes(self) -> list[str]:
        """A sentence for each kind of thing that is not in the file, with the strips' names."""
        return [translate(text, names=", ".join(names)) for text, names in self._notes.items()]

    def _read_strips(
        self, name: str, strips: Iterable[bpy.types.Strip], channels: Any, start: int, stop: int
    ) -> Timeline:
        timeline = Timeline(name, self._rate, stop - start)
        lanes: dict[tuple[str, int], Lane] = {}
        for strip in strips:
            first, last = max(start, int(strip.frame_final_start)), min(stop, int(strip.frame_final_end))
            if first >= last:
                self._note(_OUTSIDE, strip)
                continue
            channel = channels[strip.channel]
            item = self._read_strip(strip, first, last, bool(strip.mute or channel.mute))
            if item is None:
                continue
            item.start, item.stop = item.start - start, item.stop - start
            kind = "Audio" if strip.type == "SOUND" else "Video"
            key = kind, strip.channel
            if key not in lanes:
                lanes[key] = Lane(channel.name, kind, [], not channel.mute)
            lanes[key].items.append(item)
        # Video first, from the lowest channel to the highest.
        timeline.lanes = [lanes[key] for key in sorted(lanes, key=lambda one: (one[0] != "Video", one[1]))]
        return timeline

    def _read_strip(self, strip: bpy.types.Strip, first: int, last: int, is_muted: bool) -> Item | None:
        """What a strip shows from timeline frame `first` to `last - 1`; None if it is left out."""
        if strip.type == "MASK" and strip.mask is not None and has_record(strip.mask):
            # It belongs to a cover.
            return None
        if strip.type == "META" and not strip.use_reverse_frames:
            # Its strips stand at the frames of the scene, and Blender moves them with it.
            nested = self._read_strips(strip.name, strip.strips, strip.channels, first, last)
            self._note_look(strip)
            return Item(strip.name, first, last, nested, is_enabled=not strip.mute)
        if strip.type == "META":
            self._note(_BACKWARDS_META, strip)
            return None
        if strip.type not in (*KINDS, "SOUND"):
            self._note(_NO_FILE, strip)
            return None
        if len(getattr(strip, "retiming_keys", ())) > 2:
            self._note(_SEVERAL_SPEEDS, strip)
            return None
        if strip.type == "SOUND":
            return self._read_sound(strip, first, last)
        return self._read_footage(strip, first, last, is_muted)

    def _read_footage(self, strip: bpy.types.Strip, first: int, last: int, is_muted: bool) -> Item | None:
        problem = self._explain_uncovered(strip)
        if problem is not None:
            if is_muted and not is_baked(strip):
                self._note(_MUTED, strip)
            elif problem:
                self.problems.append(problem)
            else:
                self._unbaked.append(f"'{strip.name}'")
            return None
        try:
            media = self._read_media(strip)
        except FaceBlurError as error:
            self.problems.append(str(error))
            return None
        if media is None:
            self._note(_NOT_NUMBERED, strip)
            return None
        if not is_baked(strip):
            self._note(_UNCOVERED, strip)
        self._note_look(strip)
        item = Item(strip.name, first, last, media, is_enabled=not strip.mute)
        self.clips += 1
        if media.length is not None:
            self._set_times(item, strip, media.length)
        return item

    def _read_media(self, strip: bpy.types.Strip) -> Media | None:
        footage = get_shown_footage(strip)
        path = footage.path.absolute()
        if strip.type == "IMAGE":
            if not footage.files:
                return Media(path, self._rate)
            if split_number(footage.files) is None:
                return None
            return Media(path, self._rate, len(footage.files), footage.files)
        rate = Fraction(strip.fps).limit_denominator(1001)
        facts = self._read_facts(path)
        length = facts.frame_count or round(facts.seconds * rate)
        return Media(path, rate, length, first=round(facts.first_s * rate))

    def _read_sound(self, strip: bpy.types.Strip, first: int, last: int) -> Item | None:
        sound = strip.sound
        if sound is None or sound.packed_file is not None:
            self._note(_NO_SOUND_FILE, strip)
            return None
        path = Path(bpy.path.abspath(sound.filepath, library=sound.library)).resolve()
        try:
            facts = self._read_facts(path)
        except FaceBlurError as error:
            self.problems.append(f"'{strip.name}': {error}")
            return None
        if facts.has_pictures and path not in self._shown_films:
            self.problems.append(
                translate(
                    "The sound of '{name}' is in the film {file}, in which faces may show. Save it as a file without "
                    "pictures, or bake the strip that shows this film.",
                    name=strip.name,
                    file=path.name,
                )
            )
            return None
        if strip.volume != 1.0 or strip.pan or strip.modifiers:
            self._note(_SOUND_LOOK, strip)
        self.clips += 1
        rate = float(self._rate)
        media = Media(path, self._rate, facts.seconds * rate, first=round(facts.first_s * rate))
        item = Item(strip.name, first, last, media, is_enabled=not strip.mute)
        self._set_times(item, strip, media.length or 0.0)
        item.media_start -= strip.sound_offset * float(self._rate) * item.speed
        if item.media_start < 0:
            # Silence comes before the sound.
            item.start = min(item.start + round(-item.media_start / item.speed), item.stop - 1)
            item.media_start = 0.0
        return item

    def _set_times(self, item: Item, strip: bpy.types.Strip, length: float) -> None:
        """Where the item begins in its media of that length, and at which speed it plays."""
        assert isinstance(item.content, Media)
        a, b = strip.animation_offset_start, strip.animation_offset_end
        rate, duration = item.content.rate, max(strip.frame_duration, 1)
        natural = (length - a - b) * float(self._rate / rate)
        has_speed = len(getattr(strip, "retiming_keys", ())) > 0 or abs(natural - duration) >= _SAME_SPEED_FRAMES
        item.speed = natural / duration if has_speed else 1.0
        step = item.speed * float(rate / self._rate)
        place = item.start - strip.frame_start
        if getattr(strip, "use_reverse_frames", False):
            place, item.speed = duration - 1 - place, -item.speed
            self._note(_BACKWARDS, strip)
        start = place * step
        # Blender shows whole pictures only.
        item.media_start = a + (start if has_speed else round(start) if strip.type == "SOUND" else int(start + 1e-6))

    def _explain_uncovered(self, strip: bpy.types.Strip) -> str | None:
        """Why the strip's footage must not be in the file; empty if it only has to be baked, None if it may be."""
        for fault in check_strip(self._scene, strip, asks_for_review(), with_undetected=True):
            if fault.shows:
                return f"'{strip.name}': {fault.text}"
        return "" if get_modifier(strip) is not None and not is_baked(strip) else None

    def _list_shown_films(self, strips: Iterable[bpy.types.Strip]) -> Iterable[Path]:
        for strip in strips:
            if strip.type == "MOVIE" and (is_baked(strip) or strip.get(UNCOVERED_ON_PURPOSE)):
                try:
                    if self._explain_uncovered(strip) is None:
                        yield get_shown_footage(strip).path.resolve()
                except FaceBlurError:
                    # It is reported when the strip itself is read.
                    continue

    def _read_facts(self, path: Path) -> _Facts:
        if path not in self._facts:
            self._facts[path] = _read_facts(path)
        return self._facts[path]

    def _note_look(self, strip: bpy.types.Strip) -> None:
        """Note what changes a strip's picture, which is not in the file."""
        transform, crop = strip.transform, strip.crop
        plain = (
            (transform.offset_x, transform.offset_y, transform.rotation) == (0, 0, 0)
            and (transform.scale_x, transform.scale_y) == (1, 1)
            and (crop.min_x, crop.max_x, crop.min_y, crop.max_y) == (0, 0, 0, 0)
            and not (strip.use_flip_x or strip.use_flip_y or len(strip.modifiers))
            and (strip.blend_alpha, strip.color_multiply, strip.color_saturation) == (1, 1, 1)
        )
        if not plain:
            self._note(_LOOK, strip)

    def _note(self, text: str, strip: bpy.types.Strip) -> None:
        self._notes.setdefault(text, []).append(f"'{strip.name}'")


def _read_facts(path: Path) -> _Facts:
    """Raises FaceBlurError if the file cannot be read."""
    import av

    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            # A cover picture of a song is no film.
            films = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
            length = next((float(s.duration * s.time_base) for s in films if s.duration), 0.0)
            sounds = [float(s.duration * s.time_base) for s in container.streams.audio if s.duration]
            seconds = length or max(sounds, default=0.0) or (container.duration or 0) / av.time_base
            stated = films[0].average_rate if films else None
            # PyAV 19 has rationals of its own.
            rate = Fraction(stated.numerator, stated.denominator) if stated else None
            first = parse_timecode(read_timecode(container), rate) if rate else None
            return _Facts(
                bool(films),
                seconds,
                films[0].frames if films else 0,
                float(first / rate) if first and rate else 0.0,
            )
    except (av.error.FFmpegError, OSError) as error:
        raise FaceBlurError(
            translate("{name} cannot be read: {strerror}.", name=path.name, strerror=error.strerror)
        ) from error

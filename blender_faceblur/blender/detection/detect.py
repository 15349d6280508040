# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect the faces of strips and cover them: one generator for the window's timer and for the command's loop.

It keeps names only, because an editor may undo, or delete and rename strips while it runs. Nothing is changed until the
whole job is done, and strips that are gone by then are reported.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import bpy

from ...core.cover.effects import EffectSettings
from ...core.detection.settings import DEFAULT_MARGIN
from ...core.document.tracks_file import read_document
from ...core.tracking.objects import choose_classes, merge_objects
from ...core.translation import translate
from ...core.types import FaceBlurError, TrackDocument
from ...files.paths import check_models, get_stored_analyses_folder
from ...files.workplace import Workplace
from ...worker.client import AnalysisOptions, build_request
from ...worker.protocol import Message, Running, Warned
from ..common.footage import KINDS, Footage, compute_shown, get_footage, get_frame_rate, get_preview_range
from ..common.jobs import JobProgress, Step
from ..common.marks import get_modifier
from ..cover.covering import apply_analysis, find_new_parts, is_left_uncovered
from ..cover.strips import get_mask, sync_mask_strips

_FAR = 1 << 30
_LEAST_SHARE = 0.9
"""If a strip shows a smaller share of its file, only that part is analysed."""

_MARGIN_S = 2.0
"""How much before and after that part is analysed too, so that the strip can be lengthened a little."""

_CONTEXT_S = 1.0
"""How much of what was analysed before is analysed again beside a new part, so that its tracks begin and end there as
they would in one analysis. Nothing of it replaces what was found before. Raising it makes the detection slower."""


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """The settings of an analysis, see core/detection/settings.py. `provider` is "auto" or "cpu"."""

    preset: str = "balanced"
    margin: float = DEFAULT_MARGIN
    provider: str = "auto"
    objects: tuple[str, ...] = ()
    """What to detect besides faces, each in a further pass over each film: names of `OBJECT_CLASSES`."""


@dataclass(slots=True)
class SourceDetection:
    """The result for the strips of one source: its tracks, or the problem that prevented them."""

    footage: Footage
    strips: list[str]
    frames: int
    known: frozenset[str] = frozenset()
    """The names of all strips in the scene when the analysis began."""
    range: tuple[int, int] | None = None
    """The half-open source frames that the result is for; None for all."""
    span: tuple[int, int] | None = None
    """The half-open source frames to analyse, at least `range`; None for all."""
    document: TrackDocument | None = None
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    provider: str = ""
    covered: list[str] = field(default_factory=list)
    """The strips that `cover_found` has covered with it."""

    def receive(self, message: Message) -> None:
        """Keep the provider and the warnings that an analysis reports."""
        if isinstance(message, Running):
            self.provider = message.provider
        elif isinstance(message, Warned):
            self.notes.append(message.text)


def list_sources(scene: bpy.types.Scene, strips: Sequence[str]) -> list[SourceDetection]:
    """The sources of these strips, each once. Sources that cannot be analysed have a `problem`."""
    found: dict[Footage, SourceDetection] = {}
    known = frozenset(scene.sequence_editor.strips_all.keys())
    for name in strips:
        strip = scene.sequence_editor.strips_all[name]
        try:
            footage = get_footage(strip)
        except FaceBlurError as error:
            found[Footage(Path(name), (name,))] = SourceDetection(Footage(Path(name)), [name], 0, problem=str(error))
            continue
        found.setdefault(footage, SourceDetection(footage, [], strip.frame_duration, known)).strips.append(name)
    return list(found.values())


def detect(
    scene: bpy.types.Scene,
    strips: Sequence[str],
    settings: DetectionSettings,
    wait_s: float | None = None,
    in_range: bool = False,
) -> Generator[Step | None, None, list[SourceDetection]]:
    """Analyse these strips and return the results, without changing the project.

    With `in_range` it analyses only what they show in the scene's preview range. Where the same settings were used
    before on a part of what they show, it analyses only the rest. It yields None whenever nothing has
    happened for `wait_s`, if that is given. Closing it ends all processes. Raises FaceBlurError if no preview range is
    set, or the weights for number plates or text are missing.
    """
    for one in choose_classes(settings.objects):
        check_models(one.list_weights())
    sources = list_sources(scene, strips)
    _limit_ranges(scene, sources, in_range)
    if not in_range:
        sources = [part for found in sources for part in _choose_new_parts(scene, found, settings)]
    return _detect(scene, sources, settings, wait_s)


def _limit_ranges(scene: bpy.types.Scene, sources: list[SourceDetection], in_range: bool) -> None:
    """Limit each analysis to the frames that its strips show, and with `in_range` to the preview range."""
    first, stop = get_preview_range(scene) if in_range else (-_FAR, _FAR)
    margin = 0 if in_range else round(_MARGIN_S * get_frame_rate(scene))
    for found in sources:
        if found.problem:
            continue
        strips = [scene.sequence_editor.strips_all[name] for name in found.strips]
        total = max(_count_frames(strip) for strip in strips)
        spans = [compute_shown(strip, first, stop, total) for strip in strips]
        shown = [span for span in spans if span is not None]
        if not shown:
            found.problem = (
                translate(
                    "'{strips}' shows nothing in the preview range. Set a range that the strip overlaps.",
                    strips=found.strips[0],
                )
                if in_range
                else translate(
                    "'{strips}' shows no frame of its file. Move its ends so that it does.", strips=found.strips[0]
                )
            )
            continue
        begin, end = max(min(a for a, _ in shown) - margin, 0), min(max(b for _, b in shown) + margin, total)
        # Python cannot compute which frames a strip with several speeds shows.
        if in_range or (end - begin < _LEAST_SHARE * total and not any(len(strip.retiming_keys) for strip in strips)):
            found.range = found.span = begin, end
            found.frames = end - begin


def _choose_new_parts(
    scene: bpy.types.Scene, found: SourceDetection, settings: DetectionSettings
) -> list[SourceDetection]:
    """One detection for each stretch that strips show and that was never analysed, as after a strip was lengthened.

    The given detection itself if there is no such stretch, or none other, or if other settings were used before.
    """
    strips = [scene.sequence_editor.strips_all[name] for name in found.strips]
    # Python cannot compute which frames a strip with several speeds shows.
    if found.problem or settings.objects or any(len(strip.retiming_keys) for strip in strips):
        return [found]
    beside, context = (round(seconds * get_frame_rate(scene)) for seconds in (_MARGIN_S, _CONTEXT_S))
    return [
        replace(found, range=part.frames, span=part.span, frames=part.frames[1] - part.frames[0], notes=[])
        for part in find_new_parts(strips, settings.preset, settings.margin, beside, context)
    ] or [found]


def _count_frames(strip: bpy.types.Strip) -> int:
    mask = get_mask(strip)
    frames: int = mask.frame_end - mask.frame_start if mask is not None else max(strip.frame_duration, 1)
    return frames


def _detect(
    scene: bpy.types.Scene, sources: list[SourceDetection], settings: DetectionSettings, wait_s: float | None
) -> Generator[Step | None, None, list[SourceDetection]]:
    rate = get_frame_rate(scene)
    del scene
    todo = [found for found in sources if not found.problem]
    everything = max(sum(found.frames for found in todo), 1)
    presets = [settings.preset, *(one.preset.name for one in choose_classes(settings.objects))]
    before, progress = 0, JobProgress(len(todo), wait_s, len(todo) * len(presets))
    with Workplace() as workplace:
        for number, found in enumerate(todo, 1):
            for turn, preset in enumerate(presets):
                tracks = workplace.folder / f"tracks-{number}-{turn}.json"
                options = AnalysisOptions(
                    preset,
                    settings.margin,
                    settings.provider,
                    storage=get_stored_analyses_folder(),
                    span=found.span,
                    expected_frames=found.frames,
                )
                request = build_request(found.footage.to_source_ref(rate), tracks, options)
                first, last = ((before + part / len(presets) * found.frames) / everything for part in (turn, turn + 1))
                try:
                    yield from progress.run(request, found.strips[0], number, found.receive, (first, last))
                except FaceBlurError as error:
                    found.problem = f"{found.footage.name}: {str(error).removeprefix(f'{found.footage.name}: ')}"
                _read_result(found, tracks)
                if found.problem:
                    break
            before += found.frames
    return sources


def _read_result(found: SourceDetection, tracks: Path) -> None:
    """Read the result of an analysis. Other objects are added to the faces that were found before."""
    if not found.problem:
        try:
            document = read_document(tracks)
        except FaceBlurError as error:
            found.problem = str(error)
    if found.problem:
        found.document = None
    elif found.document is None:
        found.document = document
    else:
        merge_objects(found.document, document)


def cover_found(scene: bpy.types.Scene, results: Sequence[SourceDetection], effect: EffectSettings) -> list[str]:
    """Cover the faces in the strips that still exist. Returns a sentence for each problem.

    Strips of the same footage that an editor has made meanwhile, by a cut or a copy, or renamed, are covered too.
    """
    problems = []
    for found in results:
        if found.document is None:
            problems.append(found.problem)
        else:
            made = _list_made_meanwhile(scene, found)
            # A strip that is gone was renamed, or deleted after it was copied.
            names = [name for name in found.strips if not made or name in scene.sequence_editor.strips_all] + made
            failed = apply_analysis(scene, names, found.footage, found.document, effect, found.range)
            if len(failed) < len(names):
                strips = scene.sequence_editor.strips_all
                found.covered = [name for name in names if name in strips and get_modifier(strips[name]) is not None]
            problems += failed
    return problems + sync_mask_strips(scene)


def _list_made_meanwhile(scene: bpy.types.Scene, found: SourceDetection) -> list[str]:
    """The strips without a cover that show the analysed footage and did not exist when the analysis began."""
    if scene.sequence_editor is None or not found.known:
        return []
    made = []
    for strip in scene.sequence_editor.strips_all:
        if strip.type in KINDS and strip.name not in found.known and get_modifier(strip) is None:
            # A strip whose file is missing does not show it.
            with suppress(FaceBlurError):
                if get_footage(strip) == found.footage and not is_left_uncovered(strip):
                    made.append(strip.name)
    return made

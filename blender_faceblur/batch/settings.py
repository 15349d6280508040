# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a batch."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..core.detection.settings import DEFAULT_MARGIN, get_preset, list_detectors
from ..core.tracking.objects import choose_classes
from ..core.types import FaceBlurError
from ..delivery.voice import Voice
from ..exchange.boxes import BoxFiles
from ..exchange.regions import Regions
from ..files.paths import get_model_path, list_models
from .people import Recognition

RECORD_VERSION = 3
"""Increase it when the same source and settings give a different result, so that --resume makes the output again."""


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """The settings for every file. `codec`, `quality` and `encoder` are those of painting/encoders.py."""

    preset: str = "balanced"
    margin: float = DEFAULT_MARGIN
    effect: str = "solid"
    """Empty where the effect of an existing output is not known."""
    color: str = "000000"
    samples_per_face: float = 6.0
    codec: str = "auto"
    quality: str = "high"
    encoder: str = "cpu"
    renderer: str = "direct"
    """"direct" paints covers into the source's own pixels; "blender" renders a project."""
    drop_subtitles: bool = False
    render: bool = True
    tracks: Path | None = None
    """A tracks document to use instead of an analysis."""
    pieces: Path | None = None
    """The folder that holds the painted pieces of films, for several machines; None for a private one."""
    segment: tuple[int, int] | None = None
    """(i, n): only paint every nth piece of the film, beginning with the ith (from 1), into `pieces`."""
    overwrite: bool = False
    resume: bool = False
    reencode_audio: bool = False
    voice: Voice = Voice.KEEP
    blender: Path | None = None
    verify_every: int = 0
    """Verify outputs, and run the detectors on one frame in this many; 0 for no verification."""
    objects: tuple[str, ...] = ()
    """What is covered besides faces: names of `core.tracking.objects.OBJECT_CLASSES`."""
    people: Recognition | None = None
    """Whom to cover and who stays visible; None covers everyone."""
    image: Path | None = None
    """The picture of the effect "image"."""
    inverse: bool = False
    """Whether everything except the faces is covered; with `people`, except the faces of those who stay visible."""
    provider: str = "auto"
    """What the detectors run on (see `worker.client.AnalysisOptions`)."""

    boxes: BoxFiles | None = None
    """Files with boxes of other programs that are covered too."""
    regions: Regions | None = None
    """Zones and time spans to cover or to leave alone."""

    @property
    def delivers(self) -> bool:
        """Whether covered films and pictures are written."""
        return self.render and self.segment is None

    @property
    def is_direct(self) -> bool:
        return self.renderer == "direct"

    @property
    def blender_codec(self) -> str:
        """The codec that Blender renders to: a film's own codec is kept by the direct renderer only."""
        return "h264" if self.codec == "auto" else self.codec

    def shape(self) -> dict[str, str | int | float | bool]:
        """The settings that affect the output."""
        return {
            "version": RECORD_VERSION,
            "preset": self.preset,
            "detectors": list_weights(self.preset),
            "expansion": self.margin,
            "effect": self.effect,
            "color": self.color,
            "samples_across": self.samples_per_face,
            "renderer": self.renderer,
            "codec": self.codec,
            "quality": self.quality,
            "encoder": self.encoder,
            "drop_subtitles": self.drop_subtitles,
            "reencode_audio": self.reencode_audio,
            **({"tracks": hashlib.sha256(self.tracks.read_bytes()).hexdigest()} if self.tracks else {}),
            **({"voice": self.voice.value} if self.voice is not Voice.KEEP else {}),
            **({"people": self.people.digest} if self.people else {}),
            **{one.name: list_weights(one.preset.name) for one in choose_classes(self.objects)},
            **({"image": hashlib.sha256(self.image.read_bytes()).hexdigest()} if self.image else {}),
            **({"inverse": True} if self.inverse else {}),
            **({"boxes": self.boxes.digest} if self.boxes else {}),
            **({"regions": self.regions.digest} if self.regions else {}),
        }


def list_weights(preset: str) -> str:
    """The installed weights that a preset uses. They are compared because fewer weights give a different output."""
    there = []
    for name in sorted(list_detectors(get_preset(preset))):
        with suppress(FaceBlurError):
            get_model_path(name)
            there.append(f"{name} {list_models()[name].sha256}")
    return ", ".join(there)

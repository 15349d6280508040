# SPDX-License-Identifier: GPL-3.0-or-later
"""The two ways from tracks to a finished file: covers painted into the source's own pixels, or rendered by Blender."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..core.cover.effects import EffectSettings
from ..core.types import FaceBlurError, SourceInfo
from ..delivery.container import Container
from ..delivery.encode import LOSSLESS_CODEC, encode_pictures, needs_encoding
from ..delivery.join import JoinSettings, PictureStream, join_film
from ..delivery.picture import finish_picture, read_profile, verify_picture
from ..delivery.record import make_record
from ..delivery.remux import remux_film
from ..delivery.verify import Expected, verify_film
from ..sources.image import parse_orientation
from ..worker.protocol import PaintRequest, SourceRef
from .planning import FilmJob
from .rendering import OnProgress
from .settings import BatchSettings
from .stages import Stages


@dataclass(frozen=True, slots=True)
class Task:
    """What a renderer works on. Unfinished files go to the folder `part`, beside the output, or to `folder`."""

    job: FilmJob
    info: SourceInfo
    container: Container | None
    """None for a picture."""
    settings: BatchSettings
    stages: Stages
    folder: Path
    part: Path
    project: Path | None
    """The .blend file to save; None if there is none to save."""
    storage: Path
    """The folder that keeps unfinished work for a later run."""
    on_progress: OnProgress
    warn: Callable[[str], None]

    @property
    def effect(self) -> EffectSettings:
        settings = self.settings
        return EffectSettings(
            settings.effect, settings.color, settings.samples_per_face, str(settings.image or ""), settings.inverse
        )


class Renderer(ABC):
    """Renders the covers of one task, then delivers the result."""

    def __init__(self, task: Task) -> None:
        self.task = task

    @abstractmethod
    def render(self, tracks: Path) -> None:
        """Render the covers of the tracks document at `tracks`, and save the project if one is wanted."""

    @abstractmethod
    def deliver(self) -> Path:
        """Make a complete, checked file from what was rendered; returns its path before it is moved into place."""

    def _deliver_picture(self, picture: Path, keeps_grey: bool) -> Path:
        """`keeps_grey`: whether a grey picture is still grey."""
        task = self.task
        tag = parse_orientation(task.job.source.read_bytes())
        record = make_record(task.info.fingerprint, task.settings.shape(), task.info.frame_count)
        finish_picture(picture, record, tag[2] if tag else 1, read_profile(task.job.source, keeps_grey))
        verify_picture(picture, task.info.width, task.info.height)
        finished = task.part / picture.name
        shutil.move(picture, finished)
        return finished


class DirectRenderer(Renderer):
    """Paints into the source's own pixels, in a separate process. Blender only saves the project, if one is wanted."""

    def render(self, tracks: Path) -> None:
        task = self.task
        if task.project is not None:
            run_blender(task, tracks, None)
        if task.settings.render:
            settings = task.settings
            request = PaintRequest(
                SourceRef.of(task.job.source),
                str(tracks),
                str(self._result),
                task.effect,
                folder=str(self._pieces),
                codec=settings.codec,
                quality=settings.quality,
                encoder=settings.encoder,
                allowed=sorted(task.container.pictures) if task.container else [],
                share=list(settings.segment or ()),
            )
            task.stages.paint(request, task.on_progress, task.warn)

    def deliver(self) -> Path:
        task, container = self.task, self.task.container
        if container is None:
            return self._deliver_picture(self._result, keeps_grey=True)
        painted = json.loads(self._result.read_text(encoding="utf-8"))
        pictures = PictureStream(
            Fraction(painted["time_base"]),
            Fraction(painted["pixel_aspect"]),
            tuple(painted["colors"]),
            tuple(painted["matrix"]),
            Fraction(painted["frame_rate"]),
        )
        count = int(painted["pictures"])
        settings = JoinSettings(
            container,
            make_record(task.info.fingerprint, task.settings.shape(), count),
            task.settings.reencode_audio,
            not task.settings.drop_subtitles,
            task.settings.voice,
        )
        finished = task.part / f"result{container.suffix}"
        pieces = [Path(piece) for piece in painted["pieces"]]
        joined = join_film(pieces, task.job.source, finished, pictures, settings)
        for text in joined.notes:
            task.warn(text)
        if len(joined.times) != count:
            raise FaceBlurError(
                f"The result for {task.job.source.name} has {len(joined.times)} pictures instead of {count}."
            )
        expected = Expected.painted(task.info, int(painted["turn"]), count, joined.times, joined.start)
        verify_film(finished, task.job.source, expected, task.settings.reencode_audio, task.settings.voice)
        return finished

    @property
    def _pieces(self) -> Path:
        """The folder for the pieces. A shared one holds nothing else, since pieces that are not needed are removed."""
        shared = self.task.settings.pieces
        return shared / f"{self.task.info.fingerprint[:16]}.pieces" if shared else self.task.storage / "pieces"

    @property
    def _result(self) -> Path:
        """The list of a film's pieces, or the covered picture."""
        task = self.task
        return task.folder / ("painted.json" if task.container else f"picture{task.job.output.suffix.lower()}")


class BlenderRenderer(Renderer):
    """Lets Blender render the project, with its 8-bit pictures at a constant rate."""

    def render(self, tracks: Path) -> None:
        task = self.task
        if self._needs_encoding and task.settings.render:
            task.warn(
                f"The size {task.info.width} x {task.info.height} is odd, so the film is written with colours at full "
                "resolution (4:4:4). Some players cannot show it."
            )
        if not task.settings.render and task.project is None:
            return
        codec = LOSSLESS_CODEC if self._needs_encoding else task.settings.blender_codec
        output = {"output": str(self._pictures.resolve()), "codec": codec, "quality": task.settings.quality}
        run_blender(task, tracks, output if task.settings.render else None)

    def deliver(self) -> Path:
        task, pictures = self.task, self._pictures
        if task.container is None:
            return self._deliver_picture(pictures, keeps_grey=False)
        info, settings, codec = task.info, task.settings, task.settings.blender_codec
        if self._needs_encoding:
            encoded = pictures.with_name("encoded.mkv")
            encode_pictures(
                pictures,
                encoded,
                codec=codec,
                quality=settings.quality,
                frame_rate=info.frame_rate,
                progress=lambda done: task.on_progress("encode", done, info.frame_count),
            )
            pictures.unlink()
            pictures = encoded
        finished = task.part / f"result{task.container.suffix}"
        for text in remux_film(
            pictures,
            task.job.source,
            finished,
            task.container,
            frame_rate=info.frame_rate,
            pixel_aspect=info.pixel_aspect,
            record=make_record(info.fingerprint, settings.shape(), info.frame_count),
            reencode_audio=settings.reencode_audio,
        ):
            task.warn(text)
        verify_film(finished, task.job.source, Expected.rendered(info), settings.reencode_audio)
        pictures.unlink()
        return finished

    @property
    def _pictures(self) -> Path:
        task = self.task
        # Blender replaces '#' in a path with digits of the frame number.
        plain = task.folder if "#" in str(task.part.resolve()) else task.part
        return plain / ("pictures.mkv" if task.container else f"picture{task.job.output.suffix.lower()}")

    @property
    def _needs_encoding(self) -> bool:
        """Whether Blender cannot write the codec in the film's size, and therefore renders without loss first."""
        task = self.task
        return task.container is not None and needs_encoding(
            task.settings.blender_codec, task.info.width, task.info.height
        )


def run_blender(task: Task, tracks: Path, render: dict[str, Any] | None) -> None:
    """Let Blender build the project, save it if wanted, and render it as `render` says (see blender/child.py)."""
    info = task.info
    effect = task.effect
    result = task.stages.render(
        {
            "source": str(task.job.source.resolve()),
            "tracks": str(tracks),
            "effect": {
                "kind": effect.kind,
                "color": effect.color,
                "samples_across": effect.samples_across,
                "image": effect.image,
                "inverse": effect.inverse,
            },
            "render": render,
            "save_blend": str(task.project.resolve()) if task.project else None,
        },
        task.folder,
        task.settings.blender,
        task.on_progress,
        task.warn,
    )
    if (result["width"], result["height"], result["frames"]) != (info.width, info.height, info.frame_count):
        raise FaceBlurError(
            f"Blender rendered {result['frames']} frames of {result['width']} x "
            f"{result['height']} instead of {info.frame_count} of {info.width} x {info.height}."
        )

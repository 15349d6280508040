# SPDX-License-Identifier: GPL-3.0-or-later
"""Image sequences: a folder and the names of its pictures, one for each frame, as in Blender's image strip."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from ..core.types import FaceBlurError, Picture, SourceInfo
from .base import FrameSource, Sampling, sample_file, sniff
from .heif import is_heif
from .image import decode_picture, list_losses, read_data, scale_picture

_PICTURE = Sampling(whole_bytes=64 << 10, end_bytes=16 << 10, sample_bytes=4 << 10, samples=6)
"""Per picture: at most 72 KiB, so that ten thousand take seconds."""


def fingerprint_files(folder: Path, files: Sequence[str]) -> str:
    """Identify the pictures of a sequence by their content, in order. Raises FaceBlurError if there are none."""
    digest = hashlib.sha256(len(files).to_bytes(8, "big"))
    known: dict[str, bytes] = {}
    for name in files:
        if name not in known:
            known[name], head = sample_file(folder / name, _PICTURE)
            if not head:
                raise FaceBlurError(f"{name}: the file is empty")
            if sniff(head, name) != "image":
                raise FaceBlurError(f"{name}: this is not a readable picture")
        digest.update(known[name])
    return digest.hexdigest()


class SequenceSource(FrameSource):
    """Pictures of one size, one frame each; a name may be repeated. Only the current picture is in memory."""

    def __init__(self, folder: Path, files: Sequence[str], frame_rate: Fraction | None = None) -> None:
        """`files` are names inside `folder`, in the strip's order; `frame_rate` is the scene's, 25 if not given.

        The constructor samples every file, but decodes only the first one: a damaged picture or one of another size
        raises FaceBlurError only when its frame is read.
        """
        check_names(files)
        if not folder.is_dir():
            raise FaceBlurError(f"{folder}: there is no such folder")
        self._folder = folder
        self._files = list(files)
        identity = fingerprint_files(folder, files)
        data = read_data(folder / files[0])
        _check_shown(data, files[0])
        first, self.upright_turn = decode_picture(data, files[0])
        self._size = (first.shape[1], first.shape[0])
        self.info = SourceInfo(
            file_name=files[0],
            kind="sequence",
            width=first.shape[1],
            height=first.shape[0],
            frame_count=len(files),
            frame_rate=Fraction(25) if frame_rate is None else frame_rate,
            fingerprint=identity,
            warnings=tuple(list_losses(data, files[0], keeps_tag=False)),
        )

    def read_frames(
        self, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None, grey: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        last = len(self._files) - 1
        shown: str | None = None
        for source_frame in range(start, last + 1 if stop is None else stop):
            name = self._files[min(source_frame, last)]
            if name != shown:
                picture = scale_picture(self._read(name), size, grey)
                shown = name
            yield source_frame, picture

    def _read(self, name: str) -> Picture:
        data = read_data(self._folder / name)
        _check_shown(data, name)
        picture, turn = decode_picture(data, name)
        first = self._files[0]
        if (picture.shape[1], picture.shape[0]) != self._size:
            raise FaceBlurError(
                f"{name}: has {picture.shape[1]} x {picture.shape[0]} pixels, but {first}, the first of the sequence, "
                f"{self._size[0]} x {self._size[1]}; give all pictures the same size or use separate strips"
            )
        if turn != self.upright_turn:
            # Tracking a face from one picture to the next would search in the wrong place.
            raise FaceBlurError(
                f"{name}: its orientation tag differs from that of {first}, the first of the sequence; "
                "rotate the pictures or use separate strips"
            )
        return picture


def _check_shown(data: bytes, name: str) -> None:
    if is_heif(data):
        raise FaceBlurError(f"{name}: Blender does not show HEIC and AVIF pictures; convert it to PNG or JPEG")


def check_names(files: Sequence[str]) -> None:
    """Reject anything that does not name a file directly inside a folder. Raises FaceBlurError."""
    for name in files:
        # Blender turns backslashes into slashes on every system, and Windows reads the text before a colon as a drive.
        if name in ("", ".", "..") or set(name) & {"/", "\\", "\0"} or (os.name == "nt" and ":" in name):
            raise FaceBlurError(f"{name[:80]!r} is not the name of a picture in a folder")

# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of all sources of frames, their fingerprints, and how pictures are distinguished from films."""

from __future__ import annotations

import hashlib
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from ..core.types import FaceBlurError, Picture, SourceInfo
from .heif import ANIMATED_BRANDS, is_heif


class FrameSource(ABC):
    """A film, a picture or a sequence of pictures, with the frames that Blender's strip of it shows."""

    info: SourceInfo
    blender_losses: tuple[str, ...] = ()
    """Those of `info.warnings` that tell what Blender does not show, or a film that it renders does not keep."""
    blender_problem: str = ""
    """Why Blender cannot show the source completely, in one line for the user; empty if it can.

    Covers may still be painted into such a source directly.
    """
    upright_turn: int = 0
    """Degrees clockwise (0, 90, 180, 270) by which the pictures must be rotated for people to stand upright.

    Blender ignores the orientation tag of a picture, so its faces may lie on their side: detect them in rotated
    pictures and rotate the detections back.
    """

    @property
    def turn(self) -> int:
        """Degrees clockwise (0, 90, 180, 270) by which Blender and players turn the stored pictures of a film."""
        return 0

    @abstractmethod
    def read_frames(
        self, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None, grey: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        """Yield (source_frame, picture) for the strip's frames start..stop, half-open, counted from 0.

        The picture is the one that Blender shows at that frame, scaled to `size` (width, height) if given; BGR, or
        only brightness with `grey`. Do not write into it: a frame that repeats a picture yields the same array
        again. `stop` may exceed `info.frame_count` (another version of Blender may count one frame more); the last
        picture is then repeated, as in Blender. Calls are independent, so several may run in parallel, also in
        several processes. Raises FaceBlurError if the file cannot be read.
        """

    def notes(self) -> list[str]:
        """Sentences about problems that only appear while frames are read, such as damaged pictures."""
        return []

    def close(self) -> None:
        """Close the file, if the source keeps one open."""
        return

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much of a file is hashed: all of a small one, otherwise both ends and evenly spaced samples."""

    whole_bytes: int
    end_bytes: int
    sample_bytes: int
    samples: int


_FILM = Sampling(whole_bytes=8 << 20, end_bytes=1 << 20, sample_bytes=64 << 10, samples=16)


def fingerprint(path: Path) -> str:
    """Identify a file's content: hexadecimal SHA-256 over its size and its bytes, or samples of them.

    Up to 8 MiB every byte counts. For larger files the first and last MiB and 16 evenly spaced samples of 64 KiB
    count, so a film of 100 GB takes as long as one of 10 MB. The fingerprint detects a file that was replaced or
    encoded again, but not deliberate changes of a few bytes. Raises FaceBlurError if the file cannot be read.
    """
    return sample_file(path, _FILM)[0].hex()


def check_regular(path: Path) -> None:
    """Raise FaceBlurError for a pipe or a device, which could block its reader. Raises OSError for a missing file."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise FaceBlurError(f"{path.name}: this is a pipe or a device, not a file")


def sample_file(path: Path, sampling: Sampling) -> tuple[bytes, bytes]:
    """SHA-256 over a file's size and samples, and the file's first bytes. Raises FaceBlurError."""
    digest = hashlib.sha256()
    head = b""
    try:
        check_regular(path)
        with path.open("rb") as file:
            size = file.seek(0, 2)
            digest.update(size.to_bytes(8, "big"))
            if size <= sampling.whole_bytes:
                pieces = [(0, size)]
            else:
                end, sample, count = sampling.end_bytes, sampling.sample_bytes, sampling.samples
                room = size - 2 * end - sample
                pieces = [(0, end)]
                pieces += [(end + room * part // (count - 1), sample) for part in range(count)]
                pieces.append((size - end, end))
            for offset, length in pieces:
                file.seek(offset)
                piece = file.read(length)
                digest.update(piece)
                head = head or piece
    except FileNotFoundError:
        raise FaceBlurError(f"{path.name}: there is no such file in {path.parent}") from None
    except OSError as error:
        raise FaceBlurError(f"{path.name}: the file cannot be read ({error.strerror})") from None
    return digest.digest(), head


def sniff(head: bytes, name: str) -> Literal["image", "movie"]:
    """Whether Blender must load a file as a picture or as a film, from its first bytes (64 are enough).

    Raises FaceBlurError for picture formats that cannot be analysed as Blender shows them.
    """
    starts = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")
    if head.startswith(starts) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "image"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "image"
    refused = {
        b"\x76\x2f\x31\x01": "OpenEXR",
        b"\0\0\0\x0cjP  ": "JPEG 2000",
        b"\xff\x4f\xff\x51": "JPEG 2000",
        b"\x0a\x05\x01\x08": "PCX",
        b"8BPS": "Photoshop",
        b"II+\0": "BigTIFF",
        b"MM\0+": "BigTIFF",
        b"#?RADIANCE": "Radiance HDR",
        b"SDPX": "DPX",
        b"XPDS": "DPX",
        b"\x80\x2a\x5f\xd7": "Cineon",
    }
    for start, form in refused.items():
        if head.startswith(start):
            raise FaceBlurError(f"{name}: {form} pictures are not supported; convert it to PNG, TIFF or JPEG")
    if is_heif(head):
        return "image"
    if head[4:8] == b"ftyp" and head[8:12] in ANIMATED_BRANDS:
        raise FaceBlurError(f"{name}: animated HEIC and AVIF pictures are not supported; convert it to a film")
    return "movie"

# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast each encoder is, how large its result and how similar to the source: build.py bench encoders CLIP.

The clip is decoded once and encoded with the options of the direct renderer, but for the preset. Similarity is the mean
SSIM of luma (Wang et al., "Image quality assessment", 2004: Gaussian window of 1.5 pixels) over every tenth picture.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.painting.encoders import EncoderChoice, StreamLook, choose_encoder, open_encoder
from blender_faceblur.painting.film import read_stream
from blender_faceblur.sources import MovieSource, open_source

PRESETS = {
    "libx264": ("ultrafast", "superfast", "veryfast", "faster", "medium"),
    "libx265": ("ultrafast", "superfast", "veryfast", "medium"),
    "libsvtav1": ("12", "10", "9", "8", "6"),
}
EVERY = 10


def encode(frames: list[Any], choice: EncoderChoice, look: StreamLook) -> tuple[bytes, float]:
    """The encoded pictures, and the seconds that it took."""
    result = io.BytesIO()
    began = time.perf_counter()
    with av.open(result, "w", format="nut") as container:
        stream = open_encoder(container, choice, look)
        for frame in frames:
            frame.pict_type = 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return result.getvalue(), time.perf_counter() - began


def read_luma(frame: Any) -> NDArray[np.float32]:
    plane = frame.planes[0]
    dtype = np.uint8 if plane.line_size < 2 * plane.width else np.uint16
    rows: Any = np.frombuffer(plane, dtype).reshape(plane.height, -1)
    return np.asarray(rows[:, : plane.width], np.float32) / (1 if dtype is np.uint8 else 4)


def compute_ssim(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The mean structural similarity of two pictures with values from 0 to 255."""

    def smooth(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(picture, (11, 11), 1.5))

    mean, other = smooth(first), smooth(second)
    spread, other_spread = smooth(first * first) - mean * mean, smooth(second * second) - other * other
    shared = smooth(first * second) - mean * other
    low, high = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(
        np.mean(
            (2 * mean * other + low)
            * (2 * shared + high)
            / ((mean * mean + other * other + low) * (spread + other_spread + high))
        )
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="build.py bench encoders", description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=150)
    options = parser.parse_args(arguments)
    with open_source(options.clip) as source:
        assert isinstance(source, MovieSource)
        stream = read_stream(options.clip, source)
        frames = [frame for _, (_, frame) in zip(range(options.frames), source.read_pictures(), strict=False)]
    size = f"{stream.look.width} x {stream.look.height}"
    print(f"{options.clip.name}: {len(frames)} pictures of {size}, {os.cpu_count()} cores")
    print(f"{'encoder':12} {'preset':10} {'fps':>7} {'Mbit/s':>8} {'SSIM':>8}")
    for codec, encoder in (("h264", "libx264"), ("h265", "libx265"), ("av1", "libsvtav1")):
        try:
            usual = choose_encoder(stream.codec, stream.pixel_format, codec, "high", stream.look)
        except FaceBlurError as error:
            print(f"{encoder}: {error}")
            continue
        for preset in PRESETS[encoder]:
            choice = replace(usual, options={**usual.options, "preset": preset})
            data, seconds = encode(frames, choice, stream.look)
            with av.open(io.BytesIO(data)) as container:
                similarities = [
                    compute_ssim(read_luma(before), read_luma(after))
                    for number, (before, after) in enumerate(zip(frames, container.decode(video=0), strict=True))
                    if number % EVERY == 0
                ]
            rate = len(data) * 8e-6 * float(stream.look.frame_rate) / len(frames)
            used = " *" if preset == usual.options["preset"] else ""
            print(
                f"{encoder:12} {preset:10} {len(frames) / seconds:7.1f} {rate:8.2f} {np.mean(similarities):8.4f}{used}"
            )
    print("* used by the direct renderer")
    return 0


if __name__ == "__main__":
    sys.exit(main())

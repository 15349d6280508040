# SPDX-License-Identifier: GPL-3.0-or-later
"""Mouse, keyboard and screen for the scripts that run beside Blender, by way of xdotool and import.

It needs only the standard library, because it runs in the Python of whatever system Blender's window is on.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Box = Sequence[int]
"""Left, top, width, height in pixels of the screen."""

State = dict[str, Any]
"""The state that watcher.py writes."""


KEY_S, POINT_S, BUTTON_S, THINK_S = 0.28, 1.1, 0.2, 1.35
"""The keystroke-level model (Card, Moran and Newell 1983): the seconds of an average typist's key, of pointing, of a
button of the mouse, and of the thought before each step."""


class Missed(Exception):
    """An expected state did not appear."""


@dataclass(frozen=True, slots=True)
class Screenshot:
    """A part of the screen: RGB bytes in rows."""

    width: int
    height: int
    pixels: bytes

    def cut(self, box: Box) -> bytes:
        left, top, width, height = box
        return b"".join(
            self.pixels[3 * (row * self.width + left) : 3 * (row * self.width + left + width)]
            for row in range(top, top + height)
        )


class Hand:
    """Acts and observes. `clicks`, `drags` and `keys` count the actions, `waited_s` is how long Blender worked."""

    def __init__(self, state: Path, pictures: Path) -> None:
        self._state, self._pictures = state, pictures
        self.clicks = self.drags = self.keys = self.steps = 0
        self.waited_s = 0.0

    def begin_counting(self) -> None:
        self.clicks = self.drags = self.keys = self.steps = 0
        self.waited_s = 0.0

    def describe_effort(self) -> str:
        """The actions, an editor's time for them by the keystroke-level model, and the machine's time, measured."""
        hands_s = KEY_S * self.keys + (POINT_S + BUTTON_S) * self.clicks + (2 * POINT_S + BUTTON_S) * self.drags
        return (
            f"{self.clicks} clicks, {self.drags} drags, {self.keys} keys in {self.steps} steps: "
            f"{hands_s + THINK_S * self.steps:.0f} s of an editor's time, {self.waited_s:.0f} s of the machine's"
        )

    def look(self) -> State:
        """Blender's current state, written entirely after this call."""
        before = self._read().get("told", 0)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            state = self._read()
            # Blender may have begun to write the first one before this call.
            if state.get("told", 0) >= before + 2:
                return state
            time.sleep(0.02)
        self.photograph("stuck")
        raise Missed("Blender's window has not responded for 20 s; see stuck.png")

    def _read(self) -> State:
        try:
            state: State = json.loads(self._state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return state

    def wait(self, what: str, seen: Callable[[State], Any], seconds: float = 20.0) -> State:
        """Wait until `seen` returns a true value; if it never does, missed.png shows the screen instead."""
        begin = time.monotonic()
        until = begin + seconds
        self.steps += 1
        while True:
            state = self.look()
            if seen(state):
                self.waited_s += time.monotonic() - begin
                return state
            if time.monotonic() > until:
                self.photograph("missed")
                raise Missed(f"not seen within {seconds:.0f} s: {what}; see missed.png")

    def wait_for_window(self, seconds: float = 60.0) -> None:
        """Wait for the first state that the watcher writes."""
        until = time.monotonic() + seconds
        while not self._state.exists():
            if time.monotonic() > until:
                self.photograph("missed")
                raise Missed(f"Blender has not shown a window within {seconds:.0f} s")
            time.sleep(0.1)

    def wait_for_end(self, seconds: float = 30.0) -> None:
        """Wait until Blender has ended: it writes no state any more."""
        until, before = time.monotonic() + seconds, -1
        while (told := self._read().get("told", 0)) != before:
            if time.monotonic() > until:
                self.photograph("missed")
                raise Missed(f"Blender has not ended within {seconds:.0f} s; see missed.png")
            before = told
            time.sleep(3)

    def check(self, holds: object, what: str) -> None:
        if not holds:
            self.photograph("missed")
            raise Missed(f"{what}; see missed.png")

    def move(self, x: float, y: float) -> None:
        """Move twice: Blender uses the position of the second move to find what is under the mouse."""
        for shift in (2, 0):
            self._act("mousemove", str(max(0, round(x) - shift)), str(round(y)))
            time.sleep(0.05)

    def click(self, x: float, y: float) -> None:
        self.move(x, y)
        time.sleep(0.08)
        self._act("click", "1")
        self.clicks += 1
        time.sleep(0.12)

    def click_with(self, key: str, x: float, y: float) -> None:
        """Click while a key is held."""
        self._act("keydown", key)
        try:
            self.look()
            self.click(x, y)
            self.look()
        finally:
            self._act("keyup", key)

    def drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
        """Drag slowly: Blender grabs a border between areas only after the mouse has rested on it.

        While Blender is busy it takes the button to go down where the mouse is later.
        """
        self.move(x, y)
        time.sleep(0.4)
        self.look()
        self._act("mousedown", "1")
        time.sleep(0.3)
        self.look()
        for part in range(1, 11):
            self._act("mousemove", str(round(x + (to_x - x) * part / 10)), str(round(y + (to_y - y) * part / 10)))
            time.sleep(0.05)
        time.sleep(0.2)
        self._act("mouseup", "1")
        self.drags += 1
        time.sleep(0.5)

    def press(self, *keys: str) -> None:
        for key in keys:
            self._act("key", key)
            self.keys += 1
            time.sleep(0.15)

    def write(self, text: str) -> None:
        self._act("type", "--delay", "12", text)
        self.keys += len(text)
        time.sleep(0.15)

    def photograph(self, name: str) -> None:
        """Save the whole screen as NAME.png."""
        subprocess.run(
            ["import", "-silent", "-window", "root", str(self._pictures / f"{name}.png")], check=True, timeout=30
        )

    def see(self, box: Box) -> Screenshot:
        """The current picture of a part of the screen."""
        left, top, width, height = box
        done = subprocess.run(
            [
                "import",
                "-silent",
                "-window",
                "root",
                "-crop",
                f"{width}x{height}+{left}+{top}",
                "+repage",
                "-depth",
                "8",
                "ppm:-",
            ],
            check=True,
            capture_output=True,
            timeout=30,
        )
        kind, size, depth, pixels = done.stdout.split(b"\n", 3)
        columns, rows = map(int, size.split())
        if (kind, depth, len(pixels)) != (b"P6", b"255", 3 * columns * rows):
            raise Missed("the screen's picture cannot be read")
        return Screenshot(columns, rows, pixels)

    def _act(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], check=True, timeout=30)


def compute_difference(one: Screenshot, other: Screenshot, box: Box) -> float:
    """Mean difference of the channels (0 to 255) in a box of two pictures of one size."""
    a, b = one.cut(box), other.cut(box)
    return sum(abs(p - q) for p, q in zip(a, b, strict=True)) / max(len(a), 1)


def compute_mean(picture: Screenshot, box: Box) -> float:
    """Mean of the channels (0 to 255) in a box."""
    values = picture.cut(box)
    return sum(values) / max(len(values), 1)

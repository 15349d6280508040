# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the pictures of a contact sheet lie, and which of them are selected by clicks, drags and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..types import Box


@dataclass(frozen=True, slots=True)
class SheetGrid:
    """Cells in rows, as many to a row as fit. Lengths are in pixels; y counts upwards from the lower edge."""

    width: float
    height: float
    """Of the part of the screen that the cells may use."""
    cell_width: float
    cell_height: float

    @property
    def columns(self) -> int:
        return max(int(self.width // self.cell_width), 1)

    def get_box(self, number: int, scroll: float) -> Box:
        """Left, lower, right and upper edge of a cell, `scroll` pixels after the beginning."""
        row, column = divmod(number, self.columns)
        left = (self.width - self.columns * self.cell_width) / 2 + column * self.cell_width
        top = self.height - row * self.cell_height + scroll
        return left, top - self.cell_height, left + self.cell_width, top

    def list_within(self, box: Box, count: int, scroll: float) -> list[int]:
        """The cells that a box touches, of `count`."""
        left, low, right, high = box
        return [
            number
            for number in range(count)
            for cell in (self.get_box(number, scroll),)
            if cell[0] < right and left < cell[2] and cell[1] < high and low < cell[3]
        ]

    def list_visible(self, count: int, scroll: float) -> list[int]:
        return self.list_within((0.0, 0.0, self.width, self.height), count, scroll)

    def find_cell(self, x: float, y: float, count: int, scroll: float) -> int | None:
        """The cell at a position; None if there is none."""
        return next(iter(self.list_within((x, y, x + 0.5, y + 0.5), count, scroll)), None)

    def limit_scroll(self, scroll: float, count: int) -> float:
        rows = -(-count // self.columns)
        return min(max(scroll, 0.0), max(rows * self.cell_height - self.height, 0.0))

    def scroll_to(self, number: int, scroll: float) -> float:
        """The nearest scroll at which the whole cell is visible."""
        _, low, _, high = self.get_box(number, scroll)
        if high > self.height:
            return scroll - (high - self.height)
        return scroll - low if low < 0 else scroll


@dataclass(slots=True)
class SheetSelection:
    """The selected keys, and the one from which a range begins. Works as in Blender's file browser."""

    keys: set[str] = field(default_factory=set)
    active: str = ""

    def select(self, key: str, extend: bool = False) -> None:
        """Select a key alone; with `extend` add it, or remove it if it is selected."""
        if not extend:
            self.keys = {key}
        else:
            self.keys ^= {key}
        self.active = key

    def select_through(self, key: str, order: Sequence[str], extend: bool = False) -> None:
        """Select everything from the active key to this one; with `extend` keep what is selected."""
        if self.active not in order:
            self.select(key, extend)
            return
        first, last = sorted((order.index(self.active), order.index(key)))
        chosen = set(order[first : last + 1])
        self.keys = self.keys | chosen if extend else chosen

    def step(self, by: int, order: Sequence[str], extend: bool = False) -> None:
        """Go so many keys on, or back; with `extend` keep what is selected."""
        if not order:
            return
        now = order.index(self.active) if self.active in order else -max(by, 0)
        key = order[min(max(now + by, 0), len(order) - 1)]
        self.keys = self.keys | {key} if extend else {key}
        self.active = key

    def limit(self, order: Sequence[str]) -> None:
        """Forget keys that no longer exist."""
        self.keys &= set(order)
        if self.active not in order:
            self.active = ""

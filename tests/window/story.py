# SPDX-License-Identifier: GPL-3.0-or-later
"""Stories of an editor at Blender's window: run beside Blender, using only mouse, keyboard and screen.

`python3 -m tests.window.story GIVEN`, in the Python of whatever system Blender is on. GIVEN is a JSON file with the
story's name, `state` (the file that watcher.py writes), `pictures` (a folder), `film`, its `size` and `faces` (per
frame: middle, radii and visible share of each face), and a `folder` to work in.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .hand import Box, Hand, Missed, Screenshot, State, compute_difference, compute_mean

PLACES = {
    "tab": (-13, 188),
    "detect": (101, 79),
    "preset": (244, 79),
    "effect": (87, 106),
    "heading": (60, 138),
    "cover all": (130, 247),
    "switch": (36, 184),
    "go": (258, 184),
    "mode": (179, 247),
    "person": (200, 289),
    "from this frame": (330, 293),
    "face": (43, 527),
    "pictures": (297, 483),
    "this is": (98, 645),
    "not this person": (255, 645),
}
"""Positions in the tab from the sidebar's top left (negative: from its right) at Blender's default scale."""
SHEET_HEADING, SHEET_PICTURE, SHEET_GAP = 44, 128, 12
"""Of the sheet of faces: the height of its heading, the side of a picture, and the space between two of them."""
RENDER_MENU, RENDER_ANIMATION = (125, 14), (175, 59)
EDIT_MENU, PREFERENCES, ADDONS = (79, 14), (132, 283), (40, 255)
EDITOR_MENU, IMAGE_EDITOR, EDITOR_MODE, MASK_MENU = (27, 41), (77, 120), (83, 41), (549, 41)
PYTHON_CONSOLE = (496, 120)
STRIP_MENU = (413, 14)
"""From the top left of the timeline's header."""
MASK_TAB, ADD_LAYER = (665, 126), (630, 128)
"""Positions in the window of 1600 x 900 pixels; those of the Image editor after it was widened to 680 pixels."""
ROW = 42
"""Height of a row in the lists of faces and people."""
HEADING = 26
"""Height of the heading of a closed panel."""
FACES, PEOPLE = 0, 2
"""The panels' places among the headings when all are closed."""
DETECTION = 3
"""That of the panel Detection Settings while the timeline is empty."""

SAME, OTHER = 4.0, 9.0
"""Mean differences of two pictures of a face: below the first it is unchanged; above the second it is covered."""
BLACK = 12.0


class Story:
    """An editor who knows where each button is."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.hand = Hand(Path(given["state"]), Path(given["pictures"]))
        self.film, self.folder = Path(given["film"]), Path(given["folder"])
        self.size: tuple[int, int] = tuple(given["size"])
        self.faces: list[list[dict[str, float]]] = given["faces"]
        self.given = given

    def begin(self, film: Path | None = None) -> None:
        """Create a new project for video editing with one film and the Face Blur tab open."""
        hand = self.hand
        hand.wait_for_window()
        if hand.look()["workspace"] != "Video Editing" or hand.look()["strips"]:
            self.new_project()
        self.add_film(film or self.film)
        self.open_tab()

    def new_project(self) -> None:
        loaded = self.hand.look()["loaded"]
        self.hand.move(800, 500)
        self.hand.press("ctrl+n")
        time.sleep(0.4)
        self.hand.press("e")
        self.hand.wait(
            "a new project for video editing", lambda s: s["workspace"] == "Video Editing" and s["loaded"] > loaded
        )
        time.sleep(0.5)

    def add_film(self, film: Path) -> None:
        hand = self.hand
        left, top, _, height = self.get_region("SEQUENCER", "WINDOW")
        hand.move(left + 60, top + height - 120)
        hand.press("shift+a")
        time.sleep(0.4)
        hand.write("movie")
        hand.press("Return")
        self.choose_file(film)
        before = hand.wait(
            "the film's strip", lambda s: any(strip["type"] in ("MOVIE", "SOUND") for strip in s["strips"])
        )
        # The strip follows the mouse until a click, starting under the button of the file browser.
        start = min(strip["frames"][0] for strip in before["strips"])
        hand.check(abs(start - 1) < 10, f"the strip begins at frame {start}, not under the mouse")
        time.sleep(0.6)
        hand.click(left + 36, top + height - 120)
        time.sleep(0.3)
        hand.press("Home")
        left, top, width, height = self.get_region("PREVIEW", "PREVIEW")
        hand.move(left + width / 2, top + height / 2)
        hand.press("Home")

    def choose_file(self, path: Path) -> None:
        """Type folder and name into the full-screen file browser and confirm."""
        hand = self.hand
        state = hand.wait("the file browser", _has_only_file_browser)
        time.sleep(0.4)
        regions = state["areas"][0]["regions"]
        left, top, _, height = regions["UI"]
        hand.click(left + 300, top + height / 2)
        # On a busy machine a field takes keys later, and those before are lost.
        hand.look()
        hand.press("ctrl+a")
        hand.write(f"{path.parent}/")
        # The first one closes the list of completions.
        hand.press("Return", "Return")
        time.sleep(0.3)
        left, top, _, height = regions["EXECUTE"]
        hand.click(left + 200, top + height / 2)
        hand.look()
        hand.press("ctrl+a")
        hand.write(path.name)
        hand.press("Return")
        time.sleep(0.3)
        # The position where the timeline will begin, because a new strip is placed under the mouse.
        hand.move(regions["WINDOW"][0] + 16, regions["WINDOW"][1] + regions["WINDOW"][3] - 80)
        hand.press("Return")
        hand.wait("the file browser is gone", lambda s: len(s["areas"]) > 1)

    def open_tab(self) -> None:
        left, top, width, height = self.get_region("SEQUENCER", "WINDOW")
        self.hand.move(left + width / 2, top + height / 2)
        self.hand.press("n")
        self.hand.wait("the sidebar", lambda s: "UI" in _get_area(s, "SEQUENCER")["regions"])
        time.sleep(0.3)
        self.click("tab")
        self.hand.wait("the tab Face Blur", lambda s: _get_area(s, "SEQUENCER")["tab"] == "Face Blur")
        time.sleep(1.0)

    def open_mask(self, film: Path) -> None:
        """Show the mask over its film in an Image editor that replaces the file browser, and widen it."""
        hand = self.hand
        for place in (EDITOR_MENU, IMAGE_EDITOR):
            hand.click(*place)
            time.sleep(0.5)
        state = hand.wait("the Image editor", lambda s: _has_editor(s, "IMAGE_EDITOR"), 5)
        left, top, width, height = next(a for a in state["areas"] if a["type"] == "IMAGE_EDITOR")["box"]
        hand.drag(left + width + 1, top + height / 2, 680, top + height / 2)
        hand.click(*EDITOR_MODE)
        time.sleep(0.5)
        hand.press("m")
        hand.wait("the mode Mask", lambda s: any(a["view"] == "MASK" for a in s["areas"]), 5)
        hand.click(*MASK_MENU)
        time.sleep(0.8)
        hand.look()
        hand.press("Down", "Return")
        hand.wait("the mask in the Image editor", lambda s: any(a["mask"] for a in s["areas"]), 5)
        hand.move(350, 300)
        hand.press("alt+o")
        self.choose_file(film)
        hand.move(350, 300)
        hand.press("Home")
        time.sleep(0.5)

    def get_region(self, view: str, kind: str) -> Box:
        box: Box = _get_area(self.hand.look(), view)["regions"][kind]
        return box

    def compute_place(self, name: str, row: int = 0) -> tuple[int, int]:
        state = self.hand.look()
        left, top, width, _ = _get_area(state, "SEQUENCER")["regions"]["UI"]
        x, y = PLACES[name]
        return left + (x if x >= 0 else width + x), top + y + (HEADING if name == "heading" else ROW) * row

    def click(self, name: str, row: int = 0) -> None:
        self.hand.click(*self.compute_place(name, row))

    def go_to_frame(self, frame: int) -> State:
        """Move the playhead by a click into the ruler; returns the state with the playhead there."""
        state = self.hand.look()
        strip = state["strips"][0]
        left, _, width, _ = strip["box"]
        first, last = strip["frames"]
        top = _get_area(state, "SEQUENCER")["regions"]["WINDOW"][1]
        for _ in range(3):
            # On a busy machine a click is lost now and then.
            self.hand.click(left + (frame - first + 0.3) * width / (last - first), top + 12)
            until = time.monotonic() + 6
            while time.monotonic() < until and self.hand.look()["frame"] != frame:
                time.sleep(0.1)
            if self.hand.look()["frame"] == frame:
                break
        there = self.hand.wait(f"frame {frame}", lambda s: s["frame"] == frame, 1)
        # The preview is drawn later than the number changes.
        time.sleep(0.5)
        return there

    def see_preview(self) -> Screenshot:
        """The canvas as the preview shows it, with the mouse moved away."""
        left, top, width, height = self.get_region("SEQUENCER", "WINDOW")
        self.hand.move(left + width - 30, top + height / 2)
        time.sleep(0.6)
        return self.hand.see(self.hand.look()["picture"])

    def find_faces(self, frame: int, picture: Screenshot) -> list[Box]:
        """Boxes within the ellipses of clearly visible faces in a picture of the preview."""
        first = _get_strip(self.hand.look(), "MOVIE")["frames"][0]
        scale = picture.width / self.size[0]
        return [
            [
                round(scale * (face["x"] - 0.6 * face["rx"])),
                round(scale * (face["y"] - 0.6 * face["ry"])),
                round(scale * 1.2 * face["rx"]),
                round(scale * 1.2 * face["ry"]),
            ]
            for face in self.faces[frame - first]
            if face["visible"] > 0.9
        ]

    def find_cover(self, layer: str) -> tuple[int, int]:
        """The screen position of the middle of a layer's cover at the playhead."""
        state = self.hand.look()
        points = next(reported for reported in state["masks"][0]["layers"] if reported["name"] == layer)["points"]
        left, top, width, height = state["picture"]
        # Mask coordinates: 0 to 1 along the longer side, the shorter in the middle, y up.
        x = sum(point[0] for point in points) / len(points) * width
        y = height / 2 - (sum(point[1] for point in points) / len(points) - 0.5) * width
        return round(left + x), round(top + y)

    def choose_from_pie(self, direction: str, place: tuple[int, int] | None = None) -> None:
        """Open Face Blur's pie menu over a place of the preview and choose the item in that direction.

        Without a place it opens where there is no face.
        """
        left, top, width, height = self.hand.look()["picture"]
        x, y = place or (left + round(0.82 * width), top + height // 3)
        self.hand.move(x, y)
        # The previous action may still be drawing.
        time.sleep(1.5)
        self.hand.press("ctrl+alt+shift+f")
        time.sleep(1.5)
        self.hand.click(x + (90 if "east" in direction else -90), y + (-50 if "north" in direction else 50))
        time.sleep(0.6)

    def wait_for_switch(self, row: int, off: bool) -> None:
        """The first layer of the mask is not a face, so the row is one lower."""
        self.hand.wait(
            f"face {row + 1} is switched {'off' if off else 'on'}",
            lambda s: s["masks"][0]["layers"][row + 1]["off"] == off,
            5,
        )

    def widen_timeline(self) -> None:
        """Maximise the timeline, or restore it."""
        left, top, width, height = self.get_region("SEQUENCER", "WINDOW")
        count = len(self.hand.look()["areas"])
        self.hand.move(left + width / 2, top + height / 2)
        self.hand.press("ctrl+space")
        self.hand.wait("another size of the timeline", lambda s: len(s["areas"]) != count, 5)
        time.sleep(0.8)

    def activate_person(self, row: int) -> None:
        """Retry the click: it is lost if the panel is redrawn at that moment, as it is when thumbnails arrive."""
        for _ in range(4):
            self.click("person", row)
            time.sleep(1.0)
            if self.hand.look()["people"]["active"] == row:
                return
        self.hand.check(False, f"person {row + 1} becomes active")

    def choose_person(self, button: str, number: int) -> None:
        """Choose a person from a button's menu by position; 0 is a new person."""
        self.click(button)
        time.sleep(0.6)
        # On a busy machine the menu opens later.
        self.hand.look()
        self.hand.press(*["Down"] * (number + 1), "Return")

    def compute_cell(self, number: int, most: int) -> tuple[int, int]:
        """The screen position of a picture in the sheet of faces, which has `most` cells in one row."""
        left, top, width, height = self.get_region("PREVIEW", "PREVIEW")
        side = min(SHEET_PICTURE, 0.7 * height) + SHEET_GAP
        columns = int(width // side)
        self.hand.check(columns >= most, f"{most} cells are one row: {columns} fit")
        return round(left + (width - columns * side) / 2 + (number + 0.5) * side), round(top + SHEET_HEADING + side / 2)

    def point_at_timeline(self) -> None:
        left, top, width, height = self.get_region("SEQUENCER", "WINDOW")
        self.hand.move(left + width / 2, top + height / 2)

    def check_people(self, bare: Screenshot, places: list[Box], clear: list[bool]) -> None:
        """Check which faces the preview shows as the film does; the others must be black."""
        now = self.see_preview()
        for place, shows in zip(places, clear, strict=True):
            self.hand.check(
                compute_difference(bare, now, place) < SAME if shows else compute_mean(now, place) < BLACK,
                f"the face at {place} {'is covered' if shows else 'shows'}",
            )

    def set_range(self) -> None:
        """Have only the given range rendered."""
        self.go_to_frame(self.given["range"][0])
        self.hand.press("ctrl+Home")
        self.go_to_frame(self.given["range"][1])
        self.hand.press("ctrl+End")
        self.hand.wait("the range to render", lambda s: s["range"] == self.given["range"], 5)

    def render(self) -> None:
        """Render the given range with Blender's own menu."""
        self.set_range()
        output = Path(self.given["output"])
        output.unlink(missing_ok=True)
        # X reserves Ctrl+F12.
        self.hand.click(*RENDER_MENU)
        time.sleep(0.4)
        self.hand.click(*RENDER_ANIMATION)
        # Few frames of a baked film are rendered before the watcher sees that they are.
        self.hand.wait("the render begins", lambda s: s["rendering"] or output.exists(), 20)
        time.sleep(1.0)
        self.hand.wait("the render ends", lambda s: not s["rendering"], 120)
        self.hand.check(output.stat().st_size > 1000, "the film was rendered")
        first, last = self.given["range"]
        said = f"Rendered: {last - first + 1} frames in"
        self.hand.wait("the window says that the render is done", lambda s: s["addon"]["done"].startswith(said), 10)
        time.sleep(0.7)
        self.hand.photograph("rendered")

    def save_and_open(self, name: str) -> State:
        """Save the project under a name and open it again."""
        self.hand.press("ctrl+s")
        project = self.folder / f"{name}.blend"
        self.choose_file(project)
        self.hand.wait("the project is saved", lambda s: s["file"] == str(project))
        loaded = self.hand.look()["loaded"]
        self.hand.press("ctrl+o")
        self.choose_file(project)
        return self.hand.wait("the project is opened again", lambda s: s["loaded"] > loaded and _is_covered(s), 30)

    def open_project(self, name: str) -> State:
        """Open a project in which all films are covered."""
        hand = self.hand
        hand.wait_for_window()
        loaded = hand.look()["loaded"]
        hand.move(800, 500)
        # Blender begins with a splash screen.
        hand.press("Escape")
        hand.press("ctrl+o")
        self.choose_file(self.folder / f"{name}.blend")
        state = hand.wait("the project is open", lambda s: s["loaded"] > loaded and _is_covered(s), 30)
        time.sleep(1.0)
        return state

    def choose_from_menu(self, label: str) -> None:
        """Choose an entry of the timeline's menu Strip, or of the menus in it, by searching for its label."""
        left, top, _, _ = self.get_region("SEQUENCER", "HEADER")
        self.hand.click(left + STRIP_MENU[0], top + STRIP_MENU[1])
        time.sleep(1.0)
        # On a busy machine the menu opens later.
        self.hand.look()
        self.hand.press("space")
        time.sleep(1.0)
        # On a busy machine the search opens later.
        self.hand.look()
        self.hand.write(label)
        time.sleep(1.0)
        self.hand.look()
        self.hand.press("Return")

    def choose_thorough(self) -> None:
        """Choose the slowest preset, so that there is time to act during the detection."""
        self.click("preset")
        time.sleep(0.4)
        self.hand.press("t")
        self.hand.wait("the preset Thorough", lambda s: s["addon"]["preset"] == "thorough", 5)

    def choose_solid(self) -> None:
        """Choose black covers and apply them."""
        self.click("effect")
        time.sleep(0.4)
        self.hand.press("s")
        self.hand.wait("the effect is Solid", lambda s: s["addon"]["effect"] == "solid", 5)
        time.sleep(0.6)
        self.point_at_timeline()
        self.hand.press("ctrl+alt+shift+a")

    def wait_for_no_workers(self, seconds: float = 10.0) -> None:
        until = time.monotonic() + seconds
        while _list_workers():
            self.hand.check(time.monotonic() < until, f"worker processes are still running: {_list_workers()}")
            time.sleep(0.2)

    def begin_at_faces(self) -> tuple[int, Screenshot, list[Box]]:
        """Begin a project and go to a frame with faces. Returns the frame, the bare preview and their places in it."""
        self.begin()
        shown = len(self.faces) // 4
        self.go_to_frame(shown)
        bare = self.see_preview()
        places = self.find_faces(shown, bare)
        self.hand.check(places, f"the film shows a face at frame {shown}")
        return shown, bare, places

    def check_covered(self, bare: Screenshot, places: list[Box]) -> None:
        """Check that the preview shows something else than the `bare` one at these places."""
        covered = self.see_preview()
        for place in places:
            found = compute_difference(bare, covered, place)
            self.hand.check(found > OTHER, f"the face at {place} is covered in the preview")

    def begin_slow_detection(self) -> None:
        """Begin a detection that takes long enough to act meanwhile."""
        if self.hand.look()["addon"]["preset"] != "thorough":
            self.choose_thorough()
        self.point_at_timeline()
        time.sleep(0.6)
        self.hand.press("ctrl+alt+shift+d")
        self.hand.wait("progress", lambda s: s["addon"]["active"] and (s["addon"]["share"] or 0) > 0.02, 180)
        self.hand.check(_list_workers(), "the detection runs in separate processes")

    def detect(self) -> None:
        """Detect faces by the shortcut."""
        self.point_at_timeline()
        self.hand.press("ctrl+alt+shift+d")
        self.hand.wait("a detection runs", lambda s: s["addon"]["active"], 10)


def play_first_film(story: Story) -> None:
    """From an empty project to a rendered film and back."""
    hand = story.hand
    story.begin()
    hand.move(*story.compute_place("detect"))
    time.sleep(1.5)
    hand.photograph("tooltip-detect")
    story.go_to_frame(55)
    later = story.see_preview()
    story.go_to_frame(51)
    bare = story.see_preview()
    hand.photograph("panel")

    before = hand.look()
    story.click("detect")
    hand.wait("a detection runs", lambda s: s["addon"]["active"], 10)
    # At once: on a fast machine the detection takes three seconds.
    there = story.go_to_frame(55)
    hand.check(there["addon"]["active"], "the detection still runs after the playhead was moved")
    hand.wait("progress", lambda s: (s["addon"]["share"] or 0) > 0.02, 60)
    hand.photograph("detecting")
    state = hand.wait("the detection ends", lambda s: not s["addon"]["active"], 120)
    time.sleep(0.5)
    hand.photograph("detected")
    faces = [layer["name"] for layer in state["masks"][0]["layers"]][1:]
    hand.check(len(faces) >= 2 and _is_covered(state), f"detected faces: {faces}")
    hand.check(len(_get_strip(state, "SOUND")["connections"]) == 2, "the sound is connected to film and mask")

    hand.press("ctrl+z")
    state = hand.wait("one undo removes the whole cover", lambda s: not s["masks"], 10)
    for part in ("strips", "groups", "texts"):
        was, now = (_list_names(reported) if part == "strips" else reported[part] for reported in (before, state))
        hand.check(was == now, f"after the undo: {part} {now}, not {was}")
    hand.check(
        compute_difference(later, story.see_preview(), [0, 0, later.width, later.height]) < SAME,
        "the preview after the undo is as before",
    )
    hand.press("ctrl+shift+z")
    hand.wait("redo brings the cover back", _is_covered, 10)
    story.go_to_frame(51)
    covered = story.see_preview()
    places = story.find_faces(51, bare)
    hand.check(places, "the film shows a face at frame 51")
    for place in places:
        hand.check(compute_difference(bare, covered, place) > OTHER, f"the face at {place} is covered in the preview")
    hand.photograph("faces")

    shown: set[str] = set()
    for row in range(len(faces)):
        if len(shown) == len(places):
            break
        story.click("switch", row)
        story.wait_for_switch(row, True)
        now = story.see_preview()
        shown |= {str(place) for place in places if compute_difference(bare, now, place) < SAME}
        if row == 0:
            hand.photograph("switched-off")
        story.click("switch", row)
        story.wait_for_switch(row, False)
        now = story.see_preview()
        for place in places:
            hand.check(compute_difference(covered, now, place) < SAME, f"the face at {place} is covered again")
    hand.check(len(shown) == len(places), f"{len(shown)} of {len(places)} faces became visible when switched off")

    story.click("go", 0)
    hand.wait("the playhead at the first face", lambda s: s["frame"] != 51, 5)
    first = hand.look()["frame"]
    start = next(i for i, seen in enumerate(story.faces) if seen) + _get_strip(hand.look(), "MOVIE")["frames"][0]
    hand.check(abs(first - start) <= 6, f"the first face is visible from frame {start}, not {first}")

    story.choose_solid()
    story.go_to_frame(51)
    black = story.see_preview()
    for place in places:
        hand.check(compute_mean(black, place) < BLACK, f"the face at {place} is black after Update")

    story.render()
    story.go_to_frame(51)
    state = story.save_and_open("project")
    hand.check([layer["name"] for layer in state["masks"][0]["layers"]][1:] == faces, "the list of faces is restored")
    time.sleep(1.0)
    for place in places:
        hand.check(
            compute_mean(story.see_preview(), place) < BLACK, f"the face at {place} is black in the opened project"
        )
    hand.photograph("opened")


def play_what_goes_wrong(story: Story) -> None:
    """A detection that is cancelled, one whose project is closed, one during which the user undoes; a damaged film."""
    hand = story.hand
    story.begin()
    story.choose_thorough()
    before = hand.look()
    bar = [300, 880, 1000, 18]
    story.detect()
    hand.wait("progress", lambda s: (s["addon"]["share"] or 0) > 0.02, 60)
    hand.check(_list_workers(), "the detection runs in separate processes")
    hand.move(*story.get_region("SEQUENCER", "WINDOW")[:2])
    nothing = hand.see(bar)
    hand.press("Escape")
    state = hand.wait("ESC ends the detection", lambda s: not s["addon"]["active"], 5)
    time.sleep(0.5)
    hand.photograph("cancelled")
    reported = hand.see(bar)
    hand.check(
        compute_difference(nothing, reported, [0, 0, reported.width, reported.height]) > 3,
        "the status bar reports the end",
    )
    for part in ("strips", "masks", "groups", "texts"):
        hand.check(state[part] == before[part], f"after ESC: {part} {state[part]}, not {before[part]}")
    story.wait_for_no_workers()

    story.detect()
    hand.wait("progress", lambda s: (s["addon"]["share"] or 0) > 0.02, 60)
    story.new_project()
    hand.wait("the detection has ended with its project", lambda s: not s["addon"]["active"] and not s["masks"], 5)
    story.wait_for_no_workers()

    story.begin()
    # So that it still runs when the undo comes.
    story.choose_thorough()
    story.detect()
    hand.wait("progress", lambda s: (s["addon"]["share"] or 0) > 0.02, 60)
    left, top, width, height = story.get_region("SEQUENCER", "WINDOW")
    hand.move(left + width / 2, top + height / 2)
    hand.press("ctrl+z")
    state = hand.wait("the detection ends by itself", lambda s: not s["addon"]["active"], 120)
    hand.check(
        _is_covered(state) or state["addon"]["problems"],
        "after an undo the strip is covered or a message says why not",
    )
    hand.press("ctrl+z")
    hand.wait("one undo removes the whole cover", lambda s: not s["masks"], 10)
    story.wait_for_no_workers()

    broken = story.folder / "broken.mp4"
    content = story.film.read_bytes()
    broken.write_bytes(content)
    story.begin(broken)
    broken.write_bytes(content[: len(content) // 3])
    story.point_at_timeline()
    hand.press("ctrl+alt+shift+d")
    state = hand.wait("a problem", lambda s: s["addon"]["problems"], 30)
    hand.check(
        broken.name in state["addon"]["problems"][0], f"the problem names the film: {state['addon']['problems']}"
    )
    time.sleep(0.7)
    hand.photograph("broken")
    # This closes Blender's popup.
    hand.press("Escape")
    hand.move(left + width / 2, top + height / 2)
    hand.press("alt+a")
    hand.wait("nothing is selected", lambda s: not any(strip["selected"] for strip in s["strips"]), 5)
    hand.move(*story.compute_place("detect"))
    time.sleep(1.5)
    hand.photograph("tooltip-nothing-selected")


def play_interruptions(story: Story) -> None:
    """While a detection runs: play, scrub, undo and save. It goes on and covers the faces."""
    hand = story.hand
    shown, bare, places = story.begin_at_faces()
    story.begin_slow_detection()
    story.point_at_timeline()
    frame = hand.look()["frame"]
    hand.press("space")
    hand.wait("the film plays", lambda s: s["frame"] != frame, 10)
    hand.photograph("playing")
    hand.press("space")
    story.go_to_frame(shown + 5)
    story.go_to_frame(shown)
    hand.check(hand.look()["addon"]["active"], "the detection still runs after playing and scrubbing")
    story.point_at_timeline()
    for _ in range(4):
        # First come the frames, which count as one step, then the choice of the preset.
        hand.press("ctrl+z")
        time.sleep(1.0)
        if hand.look()["addon"]["preset"] != "thorough":
            break
    hand.check(hand.look()["addon"]["preset"] != "thorough", "the choice of the preset is undone")
    hand.check(hand.look()["addon"]["active"], "the detection still runs after an undo")
    hand.press("ctrl+s")
    project = story.folder / "interrupted.blend"
    story.choose_file(project)
    hand.wait("the project is saved", lambda s: s["file"] == str(project))
    hand.photograph("saved")
    state = hand.wait("the detection ends", lambda s: not s["addon"]["active"], 600)
    hand.check(_is_covered(state) and not state["addon"]["problems"], f"problems: {state['addon']['problems']}")
    story.check_covered(bare, places)
    hand.photograph("covered")
    story.wait_for_no_workers()


def play_deleted(story: Story) -> None:
    """While a detection runs, its strip is deleted: the end says so, and nothing is left. An undo brings the strip
    back, and what was detected is used for it."""
    hand = story.hand
    _, bare, places = story.begin_at_faces()
    story.begin_slow_detection()
    before = hand.look()
    name = _get_strip(before, "MOVIE")["name"]
    story.point_at_timeline()
    hand.press("Delete")
    state = hand.wait("the strip is deleted", lambda s: not s["strips"], 10)
    hand.check(state["addon"]["active"], "the detection still runs after its strip was deleted")
    hand.photograph("deleted")
    state = hand.wait("the detection ends", lambda s: not s["addon"]["active"], 600)
    problems = state["addon"]["problems"]
    hand.check(len(problems) == 1 and name in problems[0], f"the message names the strip: {problems}")
    hand.check(not state["addon"]["done"], f"no faces count as covered: {state['addon']['done']}")
    for part in ("strips", "masks", "groups", "texts"):
        hand.check(not state[part], f"of a strip that is gone, {part} are left: {state[part]}")
    time.sleep(0.7)
    hand.photograph("deleted-message")
    story.wait_for_no_workers()
    # This closes Blender's popup.
    hand.press("Escape")
    for _ in range(3):
        # The end of the detection may be a step of its own.
        story.point_at_timeline()
        hand.press("ctrl+z")
        time.sleep(1.0)
        if hand.look()["strips"]:
            break
    state = hand.wait("an undo brings the strip back", lambda s: s["strips"], 5)
    hand.check(not _get_strip(state, "MOVIE")["modifiers"], "the strip is back without a cover")
    hand.photograph("deleted-back")
    began = time.monotonic()
    story.detect()
    state = hand.wait("the strip is covered", lambda s: not s["addon"]["active"] and _is_covered(s), 60)
    print(f"the second detection took {time.monotonic() - began:.1f} s")
    hand.check(not state["addon"]["problems"], f"problems: {state['addon']['problems']}")
    story.check_covered(bare, places)
    hand.photograph("deleted-covered")
    # Thumbnails of the faces are made at the end.
    story.wait_for_no_workers(60)


def play_cover_all(story: Story) -> None:
    """An empty project in which all footage must be covered: a new film is black at once, and then only its faces."""
    hand = story.hand
    hand.wait_for_window()
    if hand.look()["workspace"] != "Video Editing" or hand.look()["strips"]:
        story.new_project()
    story.open_tab()
    story.click("heading", DETECTION)
    time.sleep(1.0)
    story.click("cover all")
    hand.wait("all footage must be covered", lambda s: s["addon"]["all"], 5)
    hand.photograph("cover-all")
    story.add_film(story.film)
    hand.photograph("cover-all-new")
    # It ends the detection, if that has begun, which goes on afterwards.
    story.render()
    Path(story.given["output"]).rename(story.folder / "black.mp4")
    hand.check("10 with strips in black" in hand.look()["addon"]["done"], "the window says what is black")
    hand.check(not _get_strip(hand.look(), "MOVIE")["modifiers"], "the film is not covered yet")
    # This closes Blender's popup.
    hand.press("Escape")
    hand.wait("its detection begins by itself", lambda s: s["addon"]["in background"], 60)
    time.sleep(1.0)
    hand.photograph("cover-all-detecting")
    hand.check(not hand.look()["addon"]["active"], "an editor need not wait for it")
    hand.wait("it is covered", lambda s: _is_covered(s) and not s["addon"]["in background"], 240)
    story.go_to_frame(51)
    covered = story.see_preview()
    hand.photograph("cover-all-covered")
    whole = [0, 0, covered.width, covered.height]
    hand.check(compute_mean(covered, whole) > 2 * BLACK, "the film shows")
    places = story.find_faces(51, covered)
    hand.check(places, "the film shows a face at frame 51")
    for place in places:
        hand.check(compute_mean(covered, place) < BLACK, f"the face at {place} is covered")
    story.render()


def play_quit(story: Story) -> None:
    """Blender is quit while a detection runs: it ends at once, and so do the processes of the detection."""
    hand = story.hand
    story.begin()
    story.begin_slow_detection()
    hand.photograph("quitting")
    story.point_at_timeline()
    hand.press("ctrl+q")
    hand.wait_for_end()
    story.wait_for_no_workers()


def play_corrections(story: Story) -> None:
    """The preferences are opened; then a changed mask and a drawn layer are visible at once."""
    hand = story.hand
    story.begin()
    hand.click(*EDIT_MENU)
    time.sleep(0.5)
    hand.click(*PREFERENCES)
    state = hand.wait("the preferences", lambda s: _has_editor(s, "PREFERENCES"), 10)
    hand.click(*ADDONS)
    time.sleep(0.8)
    left, top, _, _ = state["areas"][0]["regions"]["WINDOW"]
    hand.click(left + 350, top + 18)
    hand.write("face blur")
    hand.press("Return")
    time.sleep(0.5)
    hand.click(left + 22, top + 54)
    hand.move(left + 600, top + 800)
    time.sleep(1.0)
    hand.photograph("preferences")
    # The button Back to Previous.
    hand.click(335, 14)
    hand.wait("the sequencer is back", lambda s: _has_editor(s, "SEQUENCE_EDITOR"), 10)

    story.detect()
    hand.wait("the strip is covered", lambda s: not s["addon"]["active"] and _is_covered(s), 120)
    story.go_to_frame(2)
    story.open_mask(story.film)
    hand.photograph("mask")

    story.choose_solid()
    story.go_to_frame(20)
    before = story.see_preview()
    whole = [0, 0, before.width, before.height]
    hand.move(350, 300)
    hand.press("a", "g")
    for x in (370, 400, 410):
        hand.move(x, 300)
    hand.click(410, 300)
    time.sleep(0.3)
    hand.press("i")
    after = story.see_preview()
    hand.check(compute_difference(before, after, whole) > 1.0, "the preview shows a mask that was moved and keyed")
    hand.photograph("moved")
    hand.move(350, 300)
    hand.press("ctrl+z", "ctrl+z")
    hand.check(compute_difference(before, story.see_preview(), whole) < 0.5, "after two undos the preview is as before")

    hand.move(350, 300)
    hand.press("n")
    hand.wait(
        "the Image editor's sidebar",
        lambda s: any(a["type"] == "IMAGE_EDITOR" and "UI" in a["regions"] for a in s["areas"]),
        5,
    )
    time.sleep(0.4)
    hand.click(*MASK_TAB)
    hand.wait("the tab Mask", lambda s: any(a["type"] == "IMAGE_EDITOR" and a["tab"] == "Mask" for a in s["areas"]), 5)
    time.sleep(0.4)
    count = len(hand.look()["masks"][0]["layers"])
    hand.click(*ADD_LAYER)
    hand.wait(
        "a layer that covers its inside",
        lambda s: (
            len(s["masks"][0]["layers"]) > count
            and s["masks"][0]["layers"][-1]["invert"]
            and s["masks"][0]["layers"][-1]["blend"] == "MUL"
        ),
        5,
    )
    hand.move(120, 300)
    hand.press("shift+a")
    time.sleep(0.5)
    hand.press("c")
    hand.wait("a circle in the layer", lambda s: s["masks"][0]["layers"][-1]["points"], 5)
    # The circle appears at the 2D cursor, in a corner of the picture.
    hand.move(120, 300)
    hand.press("g")
    for x, y in ((150, 270), (200, 220), (230, 180)):
        hand.move(x, y)
    hand.click(230, 180)
    after = story.see_preview()
    hand.photograph("layer")
    points = hand.look()["masks"][0]["layers"][-1]["points"]
    # Mask coordinates: 0 to 1 along the longer side, the shorter in the middle, y up.
    x = sum(point[0] for point in points) / len(points) * after.width
    y = after.height / 2 - (sum(point[1] for point in points) / len(points) - 0.5) * after.width
    spot = [round(x) - 5, round(y) - 5, 10, 10]
    hand.check(compute_mean(before, spot) > BLACK and compute_mean(after, spot) < BLACK, "a drawn layer covers at once")
    _cancel_a_broken_render(story)


def _cancel_a_broken_render(story: Story) -> None:
    """Disable the cover in renders from Python, start Blender's own Render Animation, and cancel it halfway."""
    hand = story.hand
    for place in (EDITOR_MENU, PYTHON_CONSOLE):
        hand.click(*place)
        time.sleep(0.5)
    hand.wait("the Python console", lambda s: _has_editor(s, "CONSOLE"), 5)
    hand.move(350, 300)
    time.sleep(0.5)
    for line in (
        "s = C.workspace.sequencer_scene",
        "[setattr(m, 'enable', False) for t in s.sequence_editor.strips for m in getattr(t, 'modifiers', ())]",
        f"s.render.filepath = '{story.folder}/frames/f'; s.render.use_file_extension = True",
        "i = s.render.image_settings; i.media_type = 'IMAGE'; i.file_format = 'PNG'",
    ):
        hand.write(line)
        hand.press("Return")
    hand.click(*RENDER_MENU)
    time.sleep(0.4)
    hand.click(*RENDER_ANIMATION)
    hand.wait("the render begins", lambda s: s["rendering"], 20)
    hand.wait("some frames", lambda s: len(list(story.folder.glob("frames/*.png"))) > 3, 60)
    hand.press("Escape")
    state = hand.wait("Escape ends the render", lambda s: not s["rendering"], 20)
    problems = state["addon"]["problems"]
    hand.check(problems and problems[0].endswith("Its cover is switched off."), f"the guard reports: {problems}")
    time.sleep(1.0)
    hand.photograph("rendered-black")
    # The View menu renders the preview, from which the cover is removed here.
    hand.press("Escape")
    hand.move(350, 300)
    for line in (
        "m = [m for t in s.sequence_editor.strips for m in getattr(t, 'modifiers', ())][0]",
        "m.enable = True; m.show_preview = False",
        f"s.frame_end = s.frame_start + 9; s.render.filepath = '{story.folder}/previewed/f'",
        "a = next(a for a in C.screen.areas if a.type == 'SEQUENCE_EDITOR')",
        (
            "c = C.temp_override(area=a, region=a.regions[-1]); c.__enter__(); "
            "bpy.ops.render.opengl('INVOKE_DEFAULT', animation=True, sequencer=True)"
        ),
    ):
        hand.write(line)
        hand.press("Return")
    hand.wait(
        "the preview render writes its frames", lambda s: len(list(story.folder.glob("previewed/*.png"))) == 10, 30
    )
    state = hand.wait("the preview render ends", lambda s: not s["rendering"], 20)
    problems = state["addon"]["problems"]
    hand.check(problems and problems[0].endswith("Its cover is not in the preview."), f"the guard reports: {problems}")
    hand.wait(
        "the window says that the preview render is done",
        lambda s: s["addon"]["done"].startswith("Preview rendered: 10 frames in"),
        10,
    )
    time.sleep(0.7)
    hand.photograph("rendered-preview")


def play_workspace(story: Story) -> None:
    """The workspace is made by one click, shows the same film with the tab open, and is not made a second time."""
    hand = story.hand
    story.begin()
    strips = [strip["name"] for strip in hand.look()["strips"]]
    story.choose_from_menu("Open Workspace")
    state = hand.wait("the workspace", lambda s: s["workspace"] == "Face Blur" and len(s["areas"]) == 2, 20)
    hand.wait("the tab Face Blur", lambda s: _get_area(s, "PREVIEW")["tab"] == "Face Blur", 20)
    time.sleep(1.0)
    hand.photograph("workspace")
    state = hand.look()
    hand.check([strip["name"] for strip in state["strips"]] == strips, "the workspace shows the same strips")
    preview, timeline = (_get_area(state, view)["box"] for view in ("PREVIEW", "SEQUENCER"))
    hand.check(preview[2] == timeline[2] and preview[3] > 1.5 * timeline[3], "the preview is large")
    hand.check("UI" not in _get_area(state, "SEQUENCER")["regions"], "the timeline has no sidebar")
    hand.move(preview[0] + 300, preview[1] + 300)
    hand.press("ctrl+Page_Down")
    hand.wait("another workspace", lambda s: s["workspace"] != "Face Blur", 5)
    hand.press("ctrl+Page_Up")
    hand.wait("the workspace again", lambda s: s["workspace"] == "Face Blur" and len(s["areas"]) == 2, 5)

    loaded = hand.look()["loaded"]
    hand.press("ctrl+n")
    time.sleep(0.6)
    hand.photograph("file-new")
    hand.press("f")
    hand.wait(
        "File > New > Face Blur opens an empty project in the workspace",
        lambda s: s["loaded"] > loaded and s["workspace"] == "Face Blur" and len(s["areas"]) == 2 and not s["strips"],
        20,
    )
    hand.wait("the tab Face Blur", lambda s: _get_area(s, "PREVIEW")["tab"] == "Face Blur", 20)
    time.sleep(1.0)
    hand.photograph("workspace-new")
    story.new_project()
    time.sleep(1.0)
    hand.check(hand.look()["workspace"] == "Video Editing", "another new project opens as always")


def play_tour(story: Story) -> None:
    """What docs/pictures/tour.webp shows: detection, the workspace, playing with covers, an item to review.

    Then the guide's pictures of corrections.
    """
    hand = story.hand
    story.begin()
    shot = 0

    def record(seconds: float, until: Callable[[State], bool] = lambda _: False) -> None:
        nonlocal shot
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until(hand.look()):
            hand.photograph(f"tour-{shot:03}")
            shot += 1
            time.sleep(0.1)

    record(1.0)
    hand.photograph("panel")
    story.detect()
    record(60, lambda s: (s["addon"]["share"] or 0) > 0.3)
    hand.photograph("detecting")
    record(400, lambda s: not s["addon"]["active"] and _is_covered(s))
    hand.check(_is_covered(hand.look()), "the strip is covered")
    record(1.5)
    # The thumbnails come later.
    time.sleep(8.0)
    hand.photograph("faces")
    story.choose_from_menu("Open Workspace")
    hand.wait("the workspace", lambda s: s["workspace"] == "Face Blur" and len(s["areas"]) == 2, 20)
    hand.wait("the tab Face Blur", lambda s: _get_area(s, "PREVIEW")["tab"] == "Face Blur", 20)
    record(1.5)
    hand.photograph("outlines")
    left, top, width, height = story.get_region("PREVIEW", "PREVIEW")
    hand.move(left + 0.2 * width, top + 0.5 * height)
    hand.press("space")
    record(6.0)
    hand.press("space")
    hand.press("ctrl+alt+shift+n")
    record(3.0)
    hand.press("ctrl+alt+shift+r")
    time.sleep(3.0)
    hand.photograph("review")
    hand.press("Escape")
    time.sleep(1.0)
    _picture_corrections(story)


def _picture_corrections(story: Story) -> None:
    """A cover of the playhead's frame is dragged; a region is drawn, and tracked."""
    hand = story.hand
    state = hand.look()
    frame = state["frame"] - 1
    here = [name for name, face in state["masks"][0]["faces"].items() if _is_within(face["spans"], frame)]
    x, y = story.find_cover(here[0])
    hand.drag(x, y, x + 50, y + 30)
    hand.wait("a locked key", lambda s: s["masks"][0]["faces"][here[0]]["locked"], 20)
    time.sleep(1.0)
    hand.photograph("dragged")
    hand.press("ctrl+z")
    hand.wait("undo", lambda s: not s["masks"][0]["faces"][here[0]]["locked"], 20)
    left, top, width, height = hand.look()["picture"]
    story.choose_from_pie("north east", (left + round(0.28 * width), top + round(0.6 * height)))
    hand.drag(left + 0.05 * width, top + 0.7 * height, left + 0.2 * width, top + 0.92 * height)
    hand.wait(
        "the region is tracked", lambda s: "Region 01" in s["masks"][0]["faces"] and not s["addon"]["active"], 100
    )
    time.sleep(1.0)
    hand.photograph("region")


def _list_shown(state: State) -> list[str]:
    """The layers with a cover in any frame."""
    return sorted(name for name, face in state["masks"][0]["faces"].items() if face["spans"])


def play_decide(story: Story) -> None:
    """Two of three faces are picked by a drag over their pictures and kept visible; one undo covers them again."""
    hand = story.hand
    story.begin()
    story.detect()
    hand.wait("the strip is covered", lambda s: not s["addon"]["active"] and _is_covered(s), 120)
    story.choose_from_menu("Decide on Faces")
    # A face is kept visible only when its picture is there.
    time.sleep(9)
    hand.photograph("decide")
    first, second, third = (story.compute_cell(number, 3) for number in range(3))
    hand.click(*third)
    hand.press("c")
    hand.drag(first[0], first[1], second[0], second[1])
    hand.photograph("picked")
    hand.press("v")
    time.sleep(1.0)
    hand.photograph("confirm")
    hand.check(len(_list_shown(hand.look())) == 3, "several faces are kept visible only after they were confirmed")
    hand.press("Return")
    hand.wait("two faces are visible", lambda s: _list_shown(s) == ["Face 03"], 10)
    time.sleep(0.5)
    hand.photograph("decided")
    hand.press("ctrl+z")
    hand.wait("one undo covers both again", lambda s: len(_list_shown(s)) == 3, 10)
    hand.click(*third)
    hand.look()
    hand.click_with("shift", *first)
    hand.press("v")
    time.sleep(1.0)
    hand.press("Return")
    hand.wait("Shift picks the faces between", lambda s: _list_shown(s) == [], 10)
    hand.press("ctrl+z")
    hand.wait("undo covers all", lambda s: len(_list_shown(s)) == 3, 10)
    hand.press("Escape")
    time.sleep(0.5)
    hand.photograph("closed")


def play_effort(story: Story) -> None:
    """The way of an editor who accepts everything: detect, look at all faces, review each item, render."""
    hand = story.hand
    story.begin()
    # Rendering is Blender's own work, so a part of the film is enough.
    story.set_range()

    def report(step: str) -> None:
        print(f"{step}: {hand.describe_effort()}", flush=True)
        hand.begin_counting()

    hand.begin_counting()
    story.detect()
    state = hand.wait("the strip is covered", lambda s: not s["addon"]["active"] and _is_covered(s), 400)
    hand.check(not state["addon"]["problems"], f"problems: {state['addon']['problems']}")
    report("detect")
    story.point_at_timeline()
    hand.press("ctrl+alt+shift+e")
    time.sleep(3.0)
    hand.photograph("effort-faces")
    left, top, width, height = story.get_region("PREVIEW", "PREVIEW")
    hand.move(left + width / 2, top + height / 2)
    hand.press("Escape")
    hand.steps += 1
    report("look at the faces")
    items = hand.look()["masks"][0]["left"]
    if items:
        hand.press("ctrl+alt+shift+r")
        time.sleep(1.5)
        hand.photograph("effort-review")
    while (now := hand.look()["masks"][0]["left"]) > 0:
        hand.press("Return")
        hand.wait("one item fewer", lambda s, now=now: s["masks"][0]["left"] < now, 20)  # type: ignore[misc]
    report(f"review {items} items")
    story.choose_from_menu("Render If Covered")
    output = Path(story.given["output"])
    hand.wait("the render begins", lambda s: s["rendering"] or output.exists(), 30)
    time.sleep(1.0)
    hand.wait("the render ends", lambda s: not s["rendering"], 400)
    report("render")
    hand.check(output.stat().st_size > 1000, "the film was rendered")


def play_desk(story: Story) -> None:
    """A cover that is dragged, undone and tracked; a region that is drawn; a face that is hidden in one frame."""
    hand = story.hand
    story.begin()
    story.detect()
    hand.wait("the strip is covered", lambda s: not s["addon"]["active"] and _is_covered(s), 120)
    story.go_to_frame(51)
    story.choose_solid()
    before = story.see_preview()
    state = hand.look()
    layer = state["masks"][0]["active"]
    x, y = story.find_cover(layer)
    hand.photograph("outlines")
    hand.drag(x, y, x + 70, y + 30)
    hand.wait("a locked key", lambda s: s["masks"][0]["faces"][layer]["locked"] == [50], 10)
    time.sleep(0.5)
    hand.photograph("dragged")
    now = story.find_cover(layer)
    hand.check(abs(now[0] - x - 70) < 6 and abs(now[1] - y - 30) < 6, f"the cover lies where it was dragged to: {now}")
    hand.move(x + 200, y + 150)
    hand.press("ctrl+z")
    hand.wait("one undo reverts the drag", lambda s: s["masks"][0]["faces"][layer]["locked"] == [], 10)
    hand.check(
        compute_difference(before, story.see_preview(), [0, 0, before.width, before.height]) < SAME,
        "after the undo the preview is as before",
    )
    hand.move(x + 200, y + 150)
    hand.press("ctrl+shift+z")
    hand.wait("redo restores the key", lambda s: s["masks"][0]["faces"][layer]["locked"] == [50], 10)
    hand.press("ctrl+z")
    hand.wait("undo removes the key", lambda s: s["masks"][0]["faces"][layer]["locked"] == [], 10)

    _choose_in_the_picture(story)
    story.choose_from_pie("north east")
    left, top, width, height = hand.look()["picture"]
    box = [left + round(part * size) for part, size in ((0.8, width), (0.6, height), (0.9, width), (0.75, height))]
    box[1::2] = [value - left + top for value in box[1::2]]
    hand.drag(*box)
    hand.wait("the region is tracked", lambda s: "Region 01" in s["masks"][0]["faces"] and not s["addon"]["active"], 60)
    time.sleep(0.5)
    hand.photograph("region")
    corners = [box[0] - left + 3, box[1] - top + 3, box[2] - box[0] - 6, box[3] - box[1] - 6]
    hand.check(compute_mean(story.see_preview(), corners) < BLACK, "all of the box is covered")
    faces = hand.look()["masks"][0]["faces"]
    hand.check(
        faces["Region 01"]["spans"][1] - faces["Region 01"]["spans"][0] > 20, "the region is tracked through its shot"
    )

    story.choose_from_pie("north west", ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2))
    hand.wait(
        "the region is disabled in this frame", lambda s: len(s["masks"][0]["faces"]["Region 01"]["spans"]) == 4, 10
    )
    hand.check(compute_mean(story.see_preview(), corners) > BLACK, "the picture under the region is visible")
    hand.move(x + 200, y + 150)
    hand.press("ctrl+z")
    hand.wait("undo covers it again", lambda s: len(s["masks"][0]["faces"]["Region 01"]["spans"]) == 2, 10)

    state = story.save_and_open("desk")
    hand.check(state["masks"][0]["faces"] == faces, "faces and keys are as they were saved")


def _choose_in_the_picture(story: Story) -> None:
    """Choose faces by a click; move one by a drag and by G, switch it off by X, add one by Ctrl-click; undo each."""
    hand = story.hand
    state = hand.look()
    mask, frame = state["masks"][0], state["frame"] - 1
    here = [name for name, face in mask["faces"].items() if _is_within(face["spans"], frame)]
    hand.check(len(here) >= 2, f"two faces at the playhead: {here}")
    for layer in (here[1], here[0], here[1]):
        hand.click(*story.find_cover(layer))
        hand.wait(f"a click chooses {layer}", lambda s, layer=layer: s["masks"][0]["active"] == layer, 5)  # type: ignore[misc]
        time.sleep(0.5)

    def is_locked(state: State, layer: str) -> bool:
        return bool(state["masks"][0]["faces"][layer]["locked"] == [frame])

    x, y = story.find_cover(here[0])
    hand.drag(x, y, x + 20, y + 40)
    state = hand.wait("a drag moves an inactive face at once", lambda s: is_locked(s, here[0]), 10)
    hand.check(state["masks"][0]["active"] == here[0], "the dragged face is the active one")
    hand.press("ctrl+z")
    hand.wait("undo reverts the drag", lambda s: not is_locked(s, here[0]), 10)

    x, y = story.find_cover(here[1])
    hand.move(x, y)
    hand.press("g")
    time.sleep(0.5)
    hand.move(x + 30, y + 30)
    hand.photograph("moving")
    hand.press("Return")
    hand.wait("G moves the face under the mouse", lambda s: is_locked(s, here[1]), 10)
    hand.move(x, y)
    hand.press("ctrl+z")
    hand.wait("undo reverts G", lambda s: not is_locked(s, here[1]), 10)

    _transform_beside(story, here[1], is_locked)
    hand.move(x, y)
    hand.press("x")
    time.sleep(1.0)
    hand.photograph("switch-off")
    hand.press("Return")
    hand.wait(
        "X switches it off in this frame", lambda s: not _is_within(s["masks"][0]["faces"][here[1]]["spans"], frame), 10
    )
    hand.press("ctrl+z")
    hand.wait("undo covers it", lambda s: _is_within(s["masks"][0]["faces"][here[1]]["spans"], frame), 10)

    hand.press("ctrl+alt+shift+f")
    time.sleep(1.0)
    hand.photograph("pie")
    hand.press("Escape")
    time.sleep(0.5)

    before = set(hand.look()["masks"][0]["faces"])
    left, top, width, height = hand.look()["picture"]
    hand.click_with("ctrl", left + round(0.9 * width), top + round(0.85 * height))
    state = hand.wait(
        "Ctrl-click adds a face", lambda s: len(s["masks"][0]["faces"]) > len(before) and not s["addon"]["active"], 60
    )
    (added,) = set(state["masks"][0]["faces"]) - before
    hand.check(added.startswith("Face"), f"the added track is a face: {added}")
    spans = state["masks"][0]["faces"][added]["spans"]
    hand.check(_is_within(spans, frame) and spans[1] - spans[0] > 1, f"it is tracked: {spans}")
    time.sleep(0.5)
    hand.photograph("added")
    hand.press("ctrl+z")
    hand.wait("undo removes it", lambda s: set(s["masks"][0]["faces"]) == before, 10)


def _transform_beside(story: Story, layer: str, is_locked: Callable[[State, str], bool]) -> None:
    """G beside the faces moves the one that was chosen; after a click there, it moves the film. Both are undone."""
    hand = story.hand
    before = hand.look()["picture"]
    hand.click(*story.find_cover(layer))
    left, top, width, height = before
    x, y = left + round(0.85 * width), top + round(0.9 * height)
    place = story.find_cover(layer)

    def move() -> None:
        hand.move(x, y)
        hand.press("g")
        time.sleep(0.5)
        hand.move(x + 30, y - 20)

    move()
    hand.photograph("moving-beside")
    hand.press("Return")
    hand.wait("G beside the faces moves the chosen one", lambda s: is_locked(s, layer), 10)
    hand.move(x, y)
    hand.press("ctrl+z")
    hand.wait("undo reverts it", lambda s: not is_locked(s, layer), 10)
    hand.check(story.find_cover(layer) == place, "the cover is where it was")
    hand.click(x, y)
    time.sleep(0.5)
    move()
    hand.press("Return")
    hand.wait("G moves the film when no face is chosen", lambda s: abs(_get_offset(s)) > 10, 10)
    hand.check(not is_locked(hand.look(), layer), "no cover was moved")
    hand.press("ctrl+z")
    hand.wait("undo puts the film back", lambda s: _get_offset(s) == 0, 10)


def _get_offset(state: State) -> float:
    return float(_get_strip(state, "MOVIE")["offset"])


def _is_within(spans: list[int], frame: int) -> bool:
    """Whether a frame lies in flat half-open ranges."""
    return any(start <= frame < stop for start, stop in zip(spans[::2], spans[1::2], strict=True))


def play_review(story: Story) -> None:
    """Review one item after another: accept one, disable one, cover one that was ignored."""
    hand = story.hand
    story.begin()
    bare = {}
    for frame in (51, 60):
        story.go_to_frame(frame)
        bare[frame] = story.see_preview()
    story.detect()
    state = hand.wait("the strip is covered", lambda s: not s["addon"]["active"] and _is_covered(s), 120)
    left = state["masks"][0]["left"]
    hand.check(left >= 2, f"the film has review items: {left}")
    x, y, width, height = story.get_region("PREVIEW", "PREVIEW")
    hand.move(x + 0.8 * width, y + 0.5 * height)
    frames = {hand.look()["frame"]}
    hand.press("ctrl+alt+shift+n")
    time.sleep(1.5)
    hand.photograph("review")
    frames.add(hand.look()["frame"])
    hand.press("ctrl+alt+shift+i")
    hand.wait("one review item fewer", lambda s: s["masks"][0]["left"] == left - 1, 10)
    time.sleep(1.0)
    frames.add(hand.look()["frame"])
    hand.check(len(frames) > 1, "the review moves the playhead to the items")
    # Off is for a covered face, Cover for a track that was ignored. One of them refuses, unless the item is a pile.
    hand.press("ctrl+alt+shift+o", "ctrl+alt+shift+y")
    state = hand.wait("a second review item fewer", lambda s: s["masks"][0]["left"] <= left - 2, 10)
    now = state["masks"][0]["left"]
    hand.press("ctrl+z")
    hand.wait("undo restores the review item", lambda s: s["masks"][0]["left"] > now, 10)
    for _ in range(2):
        hand.press("ctrl+z")
        time.sleep(1.0)
        if hand.look()["masks"][0]["left"] == left:
            break
    hand.wait("more undos restore the first one", lambda s: s["masks"][0]["left"] == left, 10)
    _review_as_a_player(story)
    _see_through(story, bare)
    reported = hand.look()["masks"][0]["left"]
    state = story.save_and_open("review")
    hand.check(state["masks"][0]["left"] == reported, "the project keeps the review decisions")


def _review_as_a_player(story: Story) -> None:
    """Play an item in a loop, covered and see-through in turn; decide by one key; end by ESC."""
    hand = story.hand
    x, y, width, height = story.get_region("PREVIEW", "PREVIEW")
    hand.move(x + 0.8 * width, y + 0.5 * height)
    hand.press("ctrl+alt+shift+r")
    time.sleep(1.5)
    hand.photograph("reviewing")
    home, left = hand.look()["frame"], hand.look()["masks"][0]["left"]
    hand.press("space")
    frames = set()
    for _ in range(10):
        frames.add(hand.look()["frame"])
        time.sleep(0.3)
    hand.photograph("looping")
    hand.check(len(frames) > 2, f"a loop moves the playhead: {sorted(frames)}")
    hand.press("space")
    hand.wait("the loop ends at the item", lambda s: s["frame"] == home, 5)
    hand.press("space")
    hand.wait("it plays again", lambda s: s["frame"] != home, 5)
    hand.press("Return")
    hand.wait("Enter decides and goes on", lambda s: s["masks"][0]["left"] < left, 10)
    frames = {hand.look()["frame"] for _ in range(20)}
    hand.check(len(frames) > 1, f"the next item plays at once: {sorted(frames)}")
    hand.photograph("playing-on")
    hand.press("Escape")
    time.sleep(0.5)
    stays = hand.look()["frame"]
    time.sleep(0.5)
    hand.check(hand.look()["frame"] == stays, "ESC ends the loop")
    hand.press("ctrl+z")
    hand.wait("undo restores the item", lambda s: s["masks"][0]["left"] == left, 10)
    hand.press("Escape")
    time.sleep(0.5)


def _see_through(story: Story, bare: dict[int, Screenshot]) -> None:
    """Behind see-through covers is the picture of the frame, also after another frame was shown, and back."""
    hand = story.hand
    x, y, width, height = story.get_region("PREVIEW", "PREVIEW")
    hand.move(x + 0.8 * width, y + 0.5 * height)
    hand.press("ctrl+alt+shift+r")
    time.sleep(1.5)
    for frame in (51, 60, 51):
        story.go_to_frame(frame)
        time.sleep(1.0)
        now = story.see_preview()
        hand.photograph(f"see-through-{frame}")
        # The question may lie over a face, and outlines do: half of it is enough to know the picture.
        for place in story.find_faces(frame, bare[frame]):
            inner = [place[0] + place[2] // 4, place[1] + place[3] // 4, place[2] // 2, place[3] // 2]
            difference = compute_difference(bare[frame], now, inner)
            hand.check(difference < OTHER, f"frame {frame}: the face at {place} is seen ({difference:.1f})")
    hand.move(x + 0.8 * width, y + 0.5 * height)
    hand.press("Escape")
    time.sleep(0.5)


def play_timeline(story: Story) -> None:
    """The review of two films is one: it goes from strip to strip, and undo goes back."""
    hand = story.hand
    left = _count_left(story.open_project("timeline"))
    story.open_tab()
    x, y, width, height = story.get_region("PREVIEW", "PREVIEW")
    hand.move(x + 0.8 * width, y + 0.5 * height)
    hand.press("ctrl+alt+shift+r")
    hand.wait("the review begins", lambda s: s["frame"] != 1, 20)
    time.sleep(1.0)
    hand.photograph("timeline-first")
    visited = [_get_active(hand.look())]
    while left:
        strip = next(s for s in hand.look()["strips"] if s["name"] == visited[-1])
        hand.check(
            strip["frames"][0] <= hand.look()["frame"] < strip["frames"][1], "the playhead is in the active strip"
        )
        hand.press("Return")
        hand.wait("one item fewer", lambda s, now=left: _count_left(s) == now - 1, 20)  # type: ignore[misc]
        left -= 1
        time.sleep(0.5)
        visited.append(_get_active(hand.look()))
        if visited[-1] != visited[0]:
            hand.photograph("timeline-other")
    hand.check(set(visited) == {"film 1", "film 2"}, f"the review visits both films: {visited}")
    hand.photograph("timeline-done")
    for back, strip_name in enumerate(reversed(visited[:-1]), 1):
        hand.press("ctrl+z")
        hand.wait(
            "undo takes one decision back and returns to its strip",
            lambda s, now=back, name=strip_name: _count_left(s) == now and _get_active(s) == name,  # type: ignore[misc]
            10,
        )
    hand.photograph("timeline-undone")


def play_three_films(story: Story) -> None:
    """One row for each person in three films, and one decision that shows a person in all of them."""
    hand = story.hand
    story.open_project("three films")
    story.open_tab()
    story.go_to_frame(20)
    story.widen_timeline()
    for panel in (FACES, PEOPLE):
        story.click("heading", panel)
        time.sleep(0.5)
    story.choose_from_menu("Recognise Faces")
    hand.wait(
        "three people, each in three films",
        lambda s: [len(person["faces"]) for person in s["people"]["persons"]] == [3, 3, 3],
        200,
    )
    time.sleep(2.0)
    hand.photograph("three-films-people")
    story.choose_person("from this frame", 1)
    hand.wait(
        "a reference from the face in this frame",
        lambda s: not s["addon"]["active"] and s["people"]["persons"][0]["chosen"],
        60,
    )
    story.click("mode")
    time.sleep(0.6)
    hand.press("k")
    hand.wait("the mode", lambda s: s["people"]["mode"] == "KEEP", 5)
    time.sleep(0.5)
    hand.photograph("three-films-chosen")
    story.choose_from_menu("Apply People")
    hand.wait("one person is visible in all films", lambda s: _count_shown(s) == [2, 2, 2], 20)
    story.point_at_timeline()
    hand.press("ctrl+z")
    hand.wait("one undo covers the person in all films", lambda s: _count_shown(s) == [3, 3, 3], 10)
    hand.press("ctrl+shift+z")
    hand.wait("redo", lambda s: _count_shown(s) == [2, 2, 2], 10)
    story.widen_timeline()
    for number, strip in enumerate([s for s in hand.look()["strips"] if s["type"] == "MOVIE"], 1):
        story.go_to_frame(strip["frames"][0] + 10)
        hand.photograph(f"three-films-{number}")


def play_watch(story: Story) -> None:
    """What is played is watched, what is scrubbed is not; a correction makes its stretch unwatched, undo does not."""
    hand = story.hand
    story.begin()
    story.detect()
    hand.wait("the strip is covered", lambda s: not s["addon"]["active"] and _is_covered(s), 120)
    story.choose_solid()
    frame = story.go_to_frame(51)["frame"]
    for other in (60, 70, 80, frame):
        story.go_to_frame(other)
    state = hand.wait("the covers are known", lambda s: s["masks"][0]["watched"], 10)
    hand.check(not any(state["masks"][0]["watched"]), "going through the timeline is not watching")
    sync = state["sync"]
    x, y, width, height = story.get_region("PREVIEW", "PREVIEW")
    side = x + 0.06 * width, y + 0.9 * height
    hand.move(*side)
    hand.press("space")
    hand.wait("the preview plays", lambda s: s["playing"], 5)
    hand.wait("it has come to the end", lambda s: s["frame"] > 90, 60)
    hand.press("space")
    state = hand.wait("the preview stands", lambda s: not s["playing"], 10)
    seen = state["masks"][0]["watched"]
    hand.check(any(seen[50:]) and not any(seen[10:50]), f"what was played is watched: {seen}")
    time.sleep(0.5)
    hand.photograph("watched-a-part")

    for _ in range(6):
        state = hand.look()
        if all(state["masks"][0]["watched"]):
            break
        hand.move(*side)
        hand.press("ctrl+alt+shift+w")
        hand.wait("the next stretch plays", lambda s: s["playing"], 10)
        hand.wait("it stops by itself", lambda s: not s["playing"], 120)
        # The summary of what remains is a moment old.
        time.sleep(1.5)
    state = hand.look()
    hand.check(all(state["masks"][0]["watched"]), f"all was watched: {state['masks'][0]['watched']}")
    hand.check(state["sync"] == sync, "the scene plays as before")
    hand.photograph("watched")

    story.go_to_frame(51)
    layer = hand.look()["masks"][0]["active"]
    place = story.find_cover(layer)
    hand.drag(*place, place[0] + 40, place[1] + 20)
    state = hand.wait("a correction makes its stretch unwatched", lambda s: not all(s["masks"][0]["watched"]), 10)
    unwatched = [number for number, one in enumerate(state["masks"][0]["watched"]) if not one]
    hand.check(unwatched[0] <= 50 <= unwatched[-1] and len(unwatched) < 50, f"only its stretch: {unwatched}")
    time.sleep(0.5)
    hand.photograph("unwatched")
    hand.move(*side)
    hand.press("ctrl+z")
    hand.wait("undo makes it watched again", lambda s: all(s["masks"][0]["watched"]), 10)
    hand.press("ctrl+shift+z")
    hand.wait("redo makes it unwatched", lambda s: not all(s["masks"][0]["watched"]), 10)
    hand.press("ctrl+alt+shift+w")
    hand.wait("it plays that stretch", lambda s: s["playing"] and s["frame"] > unwatched[0] - 20, 10)
    hand.wait("and stops behind it", lambda s: not s["playing"] and all(s["masks"][0]["watched"]), 60)
    frame = hand.look()["frame"]
    hand.check(unwatched[-1] < frame < unwatched[-1] + 30, f"it stopped behind the stretch: {frame}")
    state = story.save_and_open("watch")
    hand.wait("the project keeps what was watched", lambda s: all(s["masks"][0]["watched"] or [False]), 10)


def play_people(story: Story) -> None:
    """Three people, one of whom stays visible: a reference from a frame, a corrected group; saved and rendered."""
    hand = story.hand
    story.begin()
    story.go_to_frame(51)
    bare = story.see_preview()
    places = story.find_faces(51, bare)
    hand.check(len(places) == 3, f"the film shows three faces: {places}")
    story.detect()
    hand.wait("the strip is covered", lambda s: not s["addon"]["active"] and _is_covered(s), 120)
    story.widen_timeline()
    for panel in (FACES, PEOPLE):
        story.click("heading", panel)
        time.sleep(0.5)
    story.choose_from_menu("Recognise Faces")
    hand.wait(
        "the panel suggests three people",
        lambda s: (
            _list_people(s)
            == [
                ["Person 01", ["Face 01", "machine"]],
                ["Person 02", ["Face 02", "machine"]],
                ["Person 03", ["Face 03", "machine"]],
            ]
        ),
        60,
    )
    time.sleep(2)

    story.choose_person("from this frame", 1)
    hand.wait(
        "a reference from the face in this frame",
        lambda s: (
            not s["addon"]["active"]
            and s["people"]["persons"][0]["references"] == 1
            and s["people"]["persons"][0]["chosen"]
        ),
        60,
    )
    story.activate_person(2)
    story.choose_person("this is", 1)
    wrong = [["Person 01", ["Face 01", "editor"], ["Face 03", "editor"]], ["Person 02", ["Face 02", "machine"]]]
    hand.wait("an incorrect group", lambda s: _list_people(s) == wrong, 5)
    time.sleep(0.5)
    hand.photograph("wrong-group")
    story.activate_person(0)
    story.click("face", 1)
    time.sleep(0.4)
    story.click("not this person")
    right = [
        ["Person 01", ["Face 01", "editor"]],
        ["Person 02", ["Face 02", "machine"]],
        ["Person 03", ["Face 03", "split"]],
    ]
    hand.wait("the wrong face is separate", lambda s: _list_people(s) == right, 5)
    story.point_at_timeline()
    hand.press("ctrl+z")
    hand.wait("one undo joins the faces", lambda s: _list_people(s) == wrong, 10)
    hand.press("ctrl+shift+z")
    hand.wait("redo separates the faces", lambda s: _list_people(s) == right, 10)

    story.click("pictures")
    hand.wait("a contact sheet", lambda s: s["people"]["sheet"], 5)
    story.click("mode")
    time.sleep(0.6)
    hand.press("k")
    hand.wait("the mode", lambda s: s["people"]["mode"] == "KEEP", 5)
    story.point_at_timeline()
    time.sleep(2.5)
    hand.photograph("people")
    story.choose_from_menu("Apply People")
    hand.wait("the first face is visible", lambda s: list(s["masks"][0]["faces"]) == ["Face 02", "Face 03"], 10)
    story.widen_timeline()
    story.check_people(bare, places, [True, False, False])
    story.point_at_timeline()
    hand.press("ctrl+z")
    hand.wait("undo covers the face", lambda s: len(s["masks"][0]["faces"]) == 3, 10)
    story.check_people(bare, places, [False, False, False])
    story.point_at_timeline()
    hand.press("ctrl+shift+z")
    hand.wait("redo uncovers the face", lambda s: len(s["masks"][0]["faces"]) == 2, 10)
    story.check_people(bare, places, [True, False, False])

    story.save_and_open("people")
    state = hand.wait("names and faces are restored", lambda s: _is_covered(s) and _list_people(s) == right, 10)
    hand.check(state["people"]["persons"][0]["chosen"], "the person to keep visible is restored")
    story.check_people(bare, places, [True, False, False])
    hand.photograph("one-clear")
    story.render()
    story.choose_from_menu("Verify Render")
    state = hand.wait("the render is verified", lambda s: s["addon"]["leaks"] is not None, 60)
    hand.check(
        state["addon"]["leaks"] == 0 and not state["addon"]["problems"], f"the verification passes: {state['addon']}"
    )
    time.sleep(0.5)
    hand.photograph("verified")


def play_bake(story: Story) -> None:
    """Bake the covers into a film, render it, give the source back, and bake into a copy."""
    hand = story.hand
    story.begin()
    story.go_to_frame(51)
    bare = story.see_preview()
    places = story.find_faces(51, bare)
    story.detect()
    hand.wait("the strip is covered", lambda s: not s["addon"]["active"] and _is_covered(s), 120)
    story.choose_solid()
    source = _get_strip(story.save_and_open("bake"), "MOVIE")["file"]

    story.choose_from_menu("Bake Covers")
    hand.wait("the bake begins", lambda s: s["addon"]["active"], 20)
    state = hand.wait("the bake ends", lambda s: not s["addon"]["active"], 120)
    strip = _get_strip(state, "MOVIE")
    hand.check(not state["addon"]["problems"], f"problems: {state['addon']['problems']}")
    hand.check(state["addon"]["done"], "the window says that the bake is done")
    hand.check(
        "faceblur-baked" in strip["file"] and not strip["modifiers"], f"the strip shows the baked film, not {strip}"
    )
    hand.check(all(one["type"] != "MASK" for one in state["strips"]), "the Mask strip is gone")
    story.go_to_frame(51)
    for place in places:
        hand.check(compute_mean(story.see_preview(), place) < BLACK, f"the face at {place} is black in the baked film")
    hand.photograph("baked")
    story.render()

    story.choose_from_menu("Unbake")
    state = hand.wait("the cover is back", _is_covered, 20)
    hand.check(_get_strip(state, "MOVIE")["file"] == source, "the strip shows its source again")
    story.go_to_frame(51)
    for place in places:
        hand.check(compute_mean(story.see_preview(), place) < BLACK, f"the face at {place} is black after Unbake")

    story.choose_from_menu("Write Report")
    story.choose_file(story.folder / "report.html")
    hand.wait("the window says that the report is written", lambda s: "report.html" in s["addon"]["done"], 20)
    time.sleep(0.7)
    hand.photograph("report-written")
    written = [path for path in story.folder.glob("*report.html") if path.stat().st_size > 1000]
    hand.check(len(written) == 1, f"the report was written: {written}")

    story.choose_from_menu("Export Covered Footage")
    hand.wait("the export begins", lambda s: s["addon"]["active"], 20)
    state = hand.wait("the export ends", lambda s: not s["addon"]["active"], 120)
    hand.check(not state["addon"]["problems"], f"problems: {state['addon']['problems']}")
    hand.photograph("exported")
    folder = story.folder / "bake covered"
    exported = sorted(path.name for path in folder.iterdir())
    hand.check(
        exported == ["astronaut.covered.mp4", "bake.covered.blend"], f"film and project were exported, not {exported}"
    )


STORIES: dict[str, Callable[[Story], None]] = {
    "first film": play_first_film,
    "what goes wrong": play_what_goes_wrong,
    "interruptions": play_interruptions,
    "deleted": play_deleted,
    "cover all": play_cover_all,
    "quit": play_quit,
    "corrections": play_corrections,
    "decide": play_decide,
    "effort": play_effort,
    "desk": play_desk,
    "workspace": play_workspace,
    "review": play_review,
    "timeline": play_timeline,
    "three films": play_three_films,
    "watch": play_watch,
    "people": play_people,
    "bake": play_bake,
    "tour": play_tour,
}


def _has_only_file_browser(state: State) -> bool:
    """Whether a file browser fills the window, with all of its regions."""
    areas = state["areas"]
    return [area["type"] for area in areas] == ["FILE_BROWSER"] and {"UI", "EXECUTE"} <= areas[0]["regions"].keys()


def _has_editor(state: State, kind: str) -> bool:
    return any(area["type"] == kind for area in state["areas"])


def _count_left(state: State) -> int:
    return sum(int(mask["left"]) for mask in state["masks"])


def _get_active(state: State) -> str:
    return next(str(strip["name"]) for strip in state["strips"] if strip["active"])


def _count_shown(state: State) -> list[int]:
    """For each film, how many layers have a cover in any frame."""
    return [sum(bool(face["spans"]) for face in mask["faces"].values()) for mask in state["masks"]]


def _list_workers() -> list[str]:
    """Processes of the extension that this Blender started."""
    resources, found = os.environ["BLENDER_USER_RESOURCES"], []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text(errors="replace")
        except OSError:
            # The process has ended meanwhile.
            continue
        if resources in command and "child.py" in command:
            found.append(command)
    return found


def _list_people(state: State) -> list[list[Any]]:
    """Each person's name, with its faces and the origin of each assignment."""
    return [[person["name"], *sorted(person["faces"])] for person in state["people"]["persons"]]


def _get_area(state: State, view: str) -> dict[str, Any]:
    for area in state["areas"]:
        if area["type"] == "SEQUENCE_EDITOR" and area["view"] == view:
            found: dict[str, Any] = area
            return found
    raise Missed(f"the screen has no sequencer with the view {view}")


def _get_strip(state: State, kind: str) -> dict[str, Any]:
    return next(
        (strip for strip in state["strips"] if strip["type"] == kind),
        {"active": False, "modifiers": [], "frames": [0, 0], "box": [0, 0, 0, 0]},
    )


def _is_covered(state: State) -> bool:
    return bool(
        state["masks"]
        and _get_strip(state, "MOVIE")["modifiers"]
        and any(strip["type"] == "MASK" for strip in state["strips"])
    )


def _list_names(state: State) -> list[tuple[str, list[str]]]:
    return [(strip["name"], strip["modifiers"]) for strip in state["strips"]]


def main() -> int:
    """0 if the story runs to its end."""
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    story = Story(given)
    try:
        STORIES[given["story"]](story)
    except Missed as error:
        print(f"MISSED: {error}", flush=True)
        return 1
    finally:
        print(f"{given['story']}: {story.hand.describe_effort()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

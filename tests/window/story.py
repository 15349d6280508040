# SPDX-License-Identifier: GPL-3.0-or-later
"""Stories of an editor at Blender's window: run beside it, with the mouse, the keyboard and the screen alone.

`python3 -m tests.window.story GIVEN`, in the Python of whatever system Blender is on. GIVEN is a JSON file with the
story's name, `state` (what watcher.py writes), `pictures` (a folder), `film`, its `size` and `faces` (per frame:
middle, radii and visible share of each face), and a `folder` to work in.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .hand import Box, Hand, Missed, Picture, State, find_difference, find_mean

PLACES = {
    "tab": (-13, 188), "detect": (186, 99), "cancel": (186, 99), "effect": (245, 129), "update": (105, 178),
    "remove": (280, 178), "face": (100, 247), "switch": (36, 247), "go": (291, 247),
}
"""Places in the tab from the sidebar's top left (negative: from its right), seen at Blender's default scale."""
PROVIDER_LINE, BELOW_PROVIDER = 26, 110
"""The line that names where detectors ran, and from where on it moves all else down once one has run."""
RENDER_MENU, RENDER_ANIMATION = (125, 14), (175, 59)
ROW = 21
"""Height of a row in the list of faces."""

SAME, OTHER = 4.0, 9.0
"""Mean differences of two looks at a face: below the first nothing changed; above the second it is covered."""
BLACK = 12.0


class Story:
    """An editor who knows where things are."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.hand = Hand(Path(given["state"]), Path(given["pictures"]))
        self.film, self.folder = Path(given["film"]), Path(given["folder"])
        self.size: tuple[int, int] = tuple(given["size"])
        self.faces: list[list[dict[str, float]]] = given["faces"]
        self.given = given

    def begin(self, film: Path | None = None) -> None:
        """A new project for editing films, with one in it, selected, and the tab open."""
        hand = self.hand
        hand.wait_for_window()
        if hand.look()["workspace"] != "Video Editing" or hand.look()["strips"]:
            self.new_project()
        self.add_film(film or self.film)
        box = _find_strip(hand.look(), "MOVIE")["box"]
        hand.click(box[0] + box[2] / 2, box[1] + 8)
        hand.wait("the film's strip is the active one", lambda s: _find_strip(s, "MOVIE")["active"])
        self.open_tab()

    def new_project(self) -> None:
        loaded = self.hand.look()["loaded"]
        self.hand.move(800, 500)
        self.hand.press("ctrl+n")
        time.sleep(0.4)
        self.hand.press("e")
        self.hand.wait("a new project for video editing",
                       lambda s: s["workspace"] == "Video Editing" and s["loaded"] > loaded)
        time.sleep(0.5)

    def add_film(self, film: Path) -> None:
        hand = self.hand
        left, top, _, height = self.find_region("SEQUENCER", "WINDOW")
        hand.move(left + 60, top + height - 120)
        hand.press("shift+a")
        time.sleep(0.4)
        hand.write("movie")
        hand.press("Return")
        self.choose_file(film)
        before = hand.wait("the film's strip", lambda s: any(strip["type"] in ("MOVIE", "SOUND")
                                                           for strip in s["strips"]))
        # It hangs on the mouse until a click, from under the button of the file browser on.
        start = min(strip["frames"][0] for strip in before["strips"])
        hand.check(abs(start - 1) < 10, f"the strip begins at frame {start}, not under the mouse")
        time.sleep(0.6)
        hand.click(left + 36, top + height - 120)
        time.sleep(0.3)
        hand.press("Home")
        left, top, width, height = self.find_region("PREVIEW", "PREVIEW")
        hand.move(left + width / 2, top + height / 2)
        hand.press("Home")

    def choose_file(self, path: Path) -> None:
        """Type folder and name into the full-screen file browser and confirm."""
        hand = self.hand
        state = hand.wait("the file browser", lambda s: [a["type"] for a in s["areas"]] == ["FILE_BROWSER"])
        time.sleep(0.4)
        regions = state["areas"][0]["regions"]
        left, top, _, height = regions["UI"]
        hand.click(left + 300, top + height / 2)
        hand.press("ctrl+a")
        hand.write(f"{path.parent}/")
        # The first ends the list of completions.
        hand.press("Return", "Return")
        time.sleep(0.3)
        left, top, _, height = regions["EXECUTE"]
        hand.click(left + 200, top + height / 2)
        hand.press("ctrl+a")
        hand.write(path.name)
        hand.press("Return")
        time.sleep(0.3)
        # Where the timeline will begin: a new strip comes to lie under the mouse.
        hand.move(regions["WINDOW"][0] + 16, regions["WINDOW"][1] + regions["WINDOW"][3] - 80)
        hand.press("Return")
        hand.wait("the file browser is gone", lambda s: len(s["areas"]) > 1)

    def open_tab(self) -> None:
        left, top, width, height = self.find_region("SEQUENCER", "WINDOW")
        self.hand.move(left + width / 2, top + height / 2)
        self.hand.press("n")
        self.hand.wait("the sidebar", lambda s: "UI" in _find_area(s, "SEQUENCER")["regions"])
        time.sleep(0.3)
        self.click("tab")
        self.hand.wait("the tab Face Blur", lambda s: _find_area(s, "SEQUENCER")["tab"] == "Face Blur")
        time.sleep(0.3)

    def find_region(self, view: str, kind: str) -> Box:
        box: Box = _find_area(self.hand.look(), view)["regions"][kind]
        return box

    def find_place(self, name: str, row: int = 0) -> tuple[int, int]:
        state = self.hand.look()
        left, top, width, _ = _find_area(state, "SEQUENCER")["regions"]["UI"]
        x, y = PLACES[name]
        if name != "tab" and y > BELOW_PROVIDER and state["addon"]["provider"]:
            y += PROVIDER_LINE
        return left + (x if x >= 0 else width + x), top + y + ROW * row

    def click(self, name: str, row: int = 0) -> None:
        self.hand.click(*self.find_place(name, row))

    def go_to_frame(self, frame: int) -> None:
        """Put the playhead there, by a click into the ruler."""
        state = self.hand.look()
        strip = state["strips"][0]
        left, _, width, _ = strip["box"]
        first, last = strip["frames"]
        top = _find_area(state, "SEQUENCER")["regions"]["WINDOW"][1]
        self.hand.click(left + (frame - first + 0.3) * width / (last - first), top + 12)
        self.hand.wait(f"frame {frame}", lambda s: s["frame"] == frame)
        # The preview is drawn later than the number changes.
        time.sleep(0.5)

    def see_preview(self) -> Picture:
        """The canvas as the preview shows it, with the mouse out of the way."""
        left, top, width, height = self.find_region("SEQUENCER", "WINDOW")
        self.hand.move(left + width - 30, top + height / 2)
        time.sleep(0.6)
        return self.hand.see(self.hand.look()["picture"])

    def find_faces(self, frame: int, picture: Picture) -> list[Box]:
        """Where faces are that can be seen well, as boxes within their ellipses, in a picture of the preview."""
        first = _find_strip(self.hand.look(), "MOVIE")["frames"][0]
        scale = picture.width / self.size[0]
        return [[round(scale * (face["x"] - 0.6 * face["rx"])), round(scale * (face["y"] - 0.6 * face["ry"])),
                 round(scale * 1.2 * face["rx"]), round(scale * 1.2 * face["ry"])]
                for face in self.faces[frame - first] if face["visible"] > 0.9]

    def wait_for_switch(self, row: int, off: bool) -> None:
        """The first layer of the mask is no face."""
        self.hand.wait(f"face {row + 1} is switched {'off' if off else 'on'}",
                       lambda s: s["masks"][0]["layers"][row + 1]["off"] == off, 5)

    def wait_for_no_workers(self, seconds: float = 10.0) -> None:
        until = time.monotonic() + seconds
        while _list_workers():
            self.hand.check(time.monotonic() < until, f"processes were left behind: {_list_workers()}")
            time.sleep(0.2)

    def detect(self) -> None:
        self.click("detect")
        self.hand.wait("a detection runs", lambda s: s["addon"]["active"], 10)


def tell_first_film(story: Story) -> None:
    """From an empty project to a rendered film and back."""
    hand = story.hand
    story.begin()
    hand.move(*story.find_place("detect"))
    time.sleep(1.5)
    hand.photograph("tooltip-detect")
    story.go_to_frame(51)
    bare = story.see_preview()
    hand.photograph("panel")

    before = hand.look()
    story.detect()
    hand.wait("progress", lambda s: (s["addon"]["share"] or 0) > 0.05, 60)
    time.sleep(0.6)
    hand.photograph("detecting")
    story.go_to_frame(31)
    state = hand.look()
    hand.check(state["addon"]["active"], "the detection had ended before the playhead was moved")
    story.go_to_frame(51)
    state = hand.wait("the detection is done", lambda s: not s["addon"]["active"], 120)
    time.sleep(0.5)
    hand.photograph("detected")
    faces = [layer["name"] for layer in state["masks"][0]["layers"]][1:]
    hand.check(len(faces) >= 2 and _is_covered(state), f"faces found: {faces}")

    hand.press("ctrl+z")
    state = hand.wait("one undo takes all of the cover away", lambda s: not s["masks"], 10)
    for part in ("strips", "groups", "texts"):
        was, now = (_list_names(told) if part == "strips" else told[part] for told in (before, state))
        hand.check(was == now, f"after the undo: {part} {now}, not {was}")
    hand.check(find_difference(bare, story.see_preview(), [0, 0, bare.width, bare.height]) < SAME,
               "after the undo the preview is not as it was")
    hand.press("ctrl+shift+z")
    hand.wait("redo brings the cover back", _is_covered, 10)
    covered = story.see_preview()
    places = story.find_faces(51, bare)
    hand.check(places, "the film shows a face at frame 51")
    for place in places:
        hand.check(find_difference(bare, covered, place) > OTHER, f"the face at {place} is covered in the preview")
    hand.photograph("list")

    shown = set()
    for row in range(len(faces)):
        story.click("switch", row)
        story.wait_for_switch(row, True)
        now = story.see_preview()
        shown |= {str(place) for place in places if find_difference(bare, now, place) < SAME}
        if row == 0:
            hand.photograph("switched-off")
        story.click("switch", row)
        story.wait_for_switch(row, False)
        now = story.see_preview()
        for place in places:
            hand.check(find_difference(covered, now, place) < SAME, f"the face at {place} is covered again")
    hand.check(len(shown) == len(places), f"of {len(places)} faces {len(shown)} showed when switched off")

    story.click("go", 0)
    hand.wait("the playhead at the first face", lambda s: s["frame"] != 51, 5)
    first = hand.look()["frame"]
    start = next(i for i, seen in enumerate(story.faces) if seen) + _find_strip(hand.look(), "MOVIE")["frames"][0]
    hand.check(abs(first - start) <= 6, f"the first face is seen from frame {start} on, not {first}")

    story.click("effect")
    time.sleep(0.4)
    hand.press("s")
    hand.wait("the effect is Solid", lambda s: s["addon"]["effect"] == "solid", 5)
    story.click("update")
    story.go_to_frame(51)
    black = story.see_preview()
    for place in places:
        hand.check(find_mean(black, place) < BLACK, f"the face at {place} is black after Update")

    story.go_to_frame(story.given["range"][0])
    hand.press("ctrl+Home")
    story.go_to_frame(story.given["range"][1])
    hand.press("ctrl+End")
    hand.wait("the range to render", lambda s: s["range"] == story.given["range"], 5)
    # X takes Ctrl+F12 for itself.
    hand.click(*RENDER_MENU)
    time.sleep(0.4)
    hand.click(*RENDER_ANIMATION)
    hand.wait("the render begins", lambda s: s["rendering"], 20)
    hand.wait("the render ends", lambda s: not s["rendering"], 120)
    hand.check(Path(story.given["output"]).stat().st_size > 1000, "the film was rendered")

    story.go_to_frame(51)
    hand.press("ctrl+s")
    project = story.folder / "project.blend"
    story.choose_file(project)
    hand.wait("the project is saved", lambda s: s["file"] == str(project))
    loaded = hand.look()["loaded"]
    hand.press("ctrl+o")
    story.choose_file(project)
    state = hand.wait("the project is opened again", lambda s: s["loaded"] > loaded and _is_covered(s), 30)
    hand.check([layer["name"] for layer in state["masks"][0]["layers"]][1:] == faces, "the list is there again")
    time.sleep(1.0)
    for place in places:
        hand.check(find_mean(story.see_preview(), place) < BLACK, f"the face at {place} is black in the opened project")
    hand.photograph("opened")


def tell_what_goes_wrong(story: Story) -> None:
    """A detection that is cancelled, one whose project is closed, one during which things are undone; a broken film."""
    hand = story.hand
    story.begin()
    before = hand.look()
    bar = [300, 880, 1000, 18]
    story.detect()
    hand.wait("progress", lambda s: (s["addon"]["share"] or 0) > 0.02, 60)
    hand.check(_list_workers(), "detection runs in processes of its own")
    hand.move(*story.find_region("SEQUENCER", "WINDOW")[:2])
    nothing = hand.see(bar)
    hand.press("Escape")
    state = hand.wait("ESC ends the detection", lambda s: not s["addon"]["active"], 5)
    time.sleep(0.5)
    hand.photograph("cancelled")
    told = hand.see(bar)
    hand.check(find_difference(nothing, told, [0, 0, told.width, told.height]) > 3, "the lower edge says that it ended")
    for part in ("strips", "masks", "groups", "texts"):
        hand.check(state[part] == before[part], f"after ESC: {part} {state[part]}, not {before[part]}")
    story.wait_for_no_workers()

    story.detect()
    hand.wait("progress", lambda s: (s["addon"]["share"] or 0) > 0.02, 60)
    story.new_project()
    hand.wait("the detection has ended with its project", lambda s: not s["addon"]["active"] and not s["masks"], 5)
    story.wait_for_no_workers()

    story.begin()
    story.detect()
    hand.wait("progress", lambda s: (s["addon"]["share"] or 0) > 0.02, 60)
    left, top, width, height = story.find_region("SEQUENCER", "WINDOW")
    hand.move(left + width / 2, top + height / 2)
    hand.press("ctrl+z")
    state = hand.wait("the detection ends by itself", lambda s: not s["addon"]["active"], 120)
    hand.check(_is_covered(state) or state["addon"]["problems"],
               "after an undo the strip is neither covered nor is said why not")
    hand.press("ctrl+z")
    hand.wait("one undo takes all of the cover away", lambda s: not s["masks"], 10)
    story.wait_for_no_workers()

    broken = story.folder / "broken.mp4"
    content = story.film.read_bytes()
    broken.write_bytes(content)
    story.begin(broken)
    broken.write_bytes(content[:len(content) // 3])
    story.click("detect")
    state = hand.wait("a problem", lambda s: s["addon"]["problems"], 30)
    hand.check(broken.name in state["addon"]["problems"][0], f"it names the film: {state['addon']['problems']}")
    time.sleep(0.7)
    hand.photograph("broken")
    # Ends Blender's popup.
    hand.press("Escape")
    hand.move(left + width / 2, top + height / 2)
    hand.press("alt+a")
    hand.wait("nothing is selected", lambda s: not any(strip["selected"] for strip in s["strips"]), 5)
    hand.move(*story.find_place("detect"))
    time.sleep(1.5)
    hand.photograph("tooltip-nothing-selected")


STORIES: dict[str, Callable[[Story], None]] = {
    "first film": tell_first_film, "what goes wrong": tell_what_goes_wrong,
}


def _list_workers() -> list[str]:
    """Processes of the extension that this Blender started."""
    resources, found = os.environ["BLENDER_USER_RESOURCES"], []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text(errors="replace")
        except OSError:
            # It has ended meanwhile.
            continue
        if resources in command and "child.py" in command:
            found.append(command)
    return found


def _find_area(state: State, view: str) -> dict[str, Any]:
    for area in state["areas"]:
        if area["type"] == "SEQUENCE_EDITOR" and area["view"] == view:
            found: dict[str, Any] = area
            return found
    raise Missed(f"the screen shows no sequencer of the kind {view}")


def _find_strip(state: State, kind: str) -> dict[str, Any]:
    return next((strip for strip in state["strips"] if strip["type"] == kind),
                {"active": False, "modifiers": [], "frames": [0, 0], "box": [0, 0, 0, 0]})


def _is_covered(state: State) -> bool:
    return bool(state["masks"] and _find_strip(state, "MOVIE")["modifiers"] and
                any(strip["type"] == "MASK" for strip in state["strips"]))


def _list_names(state: State) -> list[tuple[str, list[str]]]:
    return [(strip["name"], strip["modifiers"]) for strip in state["strips"]]


def main() -> int:
    """0 when the story could be told to its end."""
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    story = Story(given)
    try:
        STORIES[given["story"]](story)
    except Missed as error:
        print(f"MISSED: {error}", flush=True)
        return 1
    finally:
        print(f"{given['story']}: {story.hand.clicks} clicks, {story.hand.keys} keys", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

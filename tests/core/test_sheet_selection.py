# SPDX-License-Identifier: GPL-3.0-or-later
"""Cells of the contact sheet lie where they are clicked, and are selected as in Blender's file browser."""

from __future__ import annotations

from blender_faceblur.core.review.sheet_selection import SheetGrid, SheetSelection

GRID = SheetGrid(330.0, 250.0, 100.0, 120.0)
ORDER = ["a", "b", "c", "d", "e"]


def test_a_cell_is_found_where_its_box_lies_also_after_scrolling() -> None:
    assert GRID.columns == 3
    for scroll in (0.0, 100.0):
        for number in GRID.list_visible(7, scroll):
            left, low, right, top = GRID.get_box(number, scroll)
            assert GRID.find_cell((left + right) / 2, (low + top) / 2, 7, scroll) == number
    assert GRID.list_visible(7, 0.0) == [0, 1, 2, 3, 4, 5, 6]
    # The third row begins 10 pixels above the lower edge.
    assert GRID.get_box(6, 0.0)[3] == 10.0
    assert GRID.find_cell(5.0, 200.0, 7, 0.0) is None
    assert GRID.find_cell(150.0, 5.0, 7, 0.0) is None


def test_the_sheet_scrolls_to_its_ends_and_no_further() -> None:
    assert GRID.limit_scroll(-50.0, 7) == 0.0
    assert GRID.limit_scroll(500.0, 7) == 3 * 120 - 250
    assert GRID.limit_scroll(500.0, 3) == 0.0
    assert GRID.scroll_to(6, 0.0) == 110.0
    assert GRID.scroll_to(0, 110.0) == 0.0


def test_a_dragged_box_touches_the_cells_it_lies_over() -> None:
    one, other = GRID.get_box(1, 0.0), GRID.get_box(5, 0.0)
    box = (one[0] + 50, other[1] + 60, other[0] + 50, one[1] + 60)
    assert GRID.list_within(box, 7, 0.0) == [1, 2, 4, 5]


def test_a_click_selects_one_ctrl_adds_and_shift_selects_a_range() -> None:
    selection = SheetSelection()
    selection.select("b")
    selection.select("d", extend=True)
    assert selection.keys == {"b", "d"}
    selection.select("b", extend=True)
    assert selection.keys == {"d"}
    selection.select("d")
    selection.select_through("b", ORDER)
    assert selection.keys == {"b", "c", "d"}
    selection.select("e")
    selection.select_through("d", ORDER, extend=True)
    assert selection.keys == {"d", "e"}


def test_arrow_keys_stop_at_the_ends_and_begin_at_the_first() -> None:
    selection = SheetSelection()
    selection.step(1, ORDER)
    assert selection.keys == {"a"}
    selection.step(3, ORDER)
    selection.step(3, ORDER, extend=True)
    assert selection.active == "e" and selection.keys == {"d", "e"}
    selection.step(-9, ORDER)
    assert selection.keys == {"a"}


def test_what_is_gone_is_no_longer_selected() -> None:
    selection = SheetSelection({"a", "gone"}, "gone")
    selection.limit(ORDER)
    assert selection.keys == {"a"} and selection.active == ""

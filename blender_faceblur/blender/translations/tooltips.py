# SPDX-License-Identifier: GPL-3.0-or-later
"""The tooltips of operators, which are docstrings of several lines: the catalogues have each of them as one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy

_PACKAGE = __package__.removesuffix(".blender.translations")


def list_subclasses(kind: Any) -> Iterator[Any]:
    """The extension's own classes that derive from a class of Blender, registered or not."""
    for inner in kind.__subclasses__():
        if inner.__module__.startswith(f"{_PACKAGE}."):
            yield inner
        yield from list_subclasses(inner)


def list_tooltips() -> dict[str, str]:
    """Tooltip in one line -> as Blender has it. Pythons differ in how they indent docstrings."""
    tooltips = {}
    for kind in list_subclasses(bpy.types.Operator):
        if kind.is_registered:
            description = get_operator_type(kind).description
            tooltips[" ".join(description.split())] = description
    return tooltips


def get_operator_type(kind: Any) -> Any:
    """Blender's description of a registered operator."""
    module, _, name = kind.bl_idname.partition(".")
    return getattr(getattr(bpy.ops, module), name).get_rna_type()

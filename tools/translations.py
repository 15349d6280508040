# SPDX-License-Identifier: GPL-3.0-or-later
"""List the texts of the extension that its catalogues must have: `build.py translations` prints what is missing."""

from __future__ import annotations

import argparse
import ast
import re
import string
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "blender_faceblur"

_SEARCHED = ("blender", "reporting", "core")

_NOT_SHOWN = ("command.py", "child.py", "rendering", "translations")
"""Modules and rooms of `blender` whose texts only the command line and other programs read."""

_SHOWN = ("add_fault", "FaceBlurError", "refuse", "report", "StripState", "write_lines")
"""Functions whose literal texts Blender, or the function itself, translates when they are shown."""

_DESCRIBING = ("_list_faults", "_list_baked_faults", "explain_fault")
"""Functions of `blender` that return or yield literal texts to a caller who translates them."""

_LABELS = ("confirm_text", "message", "text", "title")
"""Their arguments that Blender translates."""

_LAYOUTS = (
    "invoke_confirm",
    "invoke_props_dialog",
    "label",
    "menu",
    "operator",
    "operator_menu_enum",
    "popover",
    "progress",
    "prop",
    "prop_menu_enum",
)


def list_messages() -> set[str]:
    """All texts in English, as the catalogues have them. Needs Blender, with the extension registered."""
    return set(_list_registered()) | set(list_written())


def list_written(package: Path = PACKAGE) -> Iterator[str]:
    """The texts that the code itself shows or puts together."""
    for folder in _SEARCHED:
        for path in sorted((package / folder).rglob("*.py")):
            if folder != "blender" or not set(path.relative_to(package / folder).parts) & set(_NOT_SHOWN):
                for text in _list_in_module(ast.parse(path.read_text("utf-8")), folder == "blender"):
                    if _is_text(text):
                        yield text


def _list_in_module(tree: ast.Module, in_blender: bool) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="mark"), args=[table]):
                yield from _list_constants(table)
            case ast.Call(func=ast.Name(id="translate"), args=[template]):
                yield from _list_choices(template)
            case ast.Call(func=ast.Name(id="count"), args=[_, ast.Constant(value=str(word))]):
                yield from (word, f"{word}s")
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if in_blender:
                shown = node.args if name in _SHOWN else []
                for value in (*shown, *(one.value for one in node.keywords if one.arg in _LABELS and name in _LAYOUTS)):
                    yield from _list_choices(value)
            case ast.FunctionDef(name=name) if in_blender and name in _DESCRIBING:
                yield from _list_results(node)


def _list_results(function: ast.FunctionDef) -> Iterator[str]:
    """The literal texts that a function returns, yields, or appends to a list."""
    for node in ast.walk(function):
        match node:
            case ast.Return(value=ast.expr() as value) | ast.Yield(value=ast.expr() as value):
                yield from _list_choices(value)
            case ast.Call(func=ast.Attribute(attr="append"), args=[value]):
                yield from _list_choices(value)


def _list_choices(node: ast.expr) -> Iterator[str]:
    """The literal texts that an expression can have as its value, or in its list."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _list_choices(one)
            yield from _list_choices(other)
        case ast.BoolOp(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts):
            for part in parts:
                yield from _list_choices(part)


def _list_constants(node: ast.expr) -> Iterator[str]:
    """The strings of a table. Identifiers of Blender's enums, which are upper-case, are not texts."""
    if isinstance(node, ast.Dict):
        # The keys are identifiers.
        for value in node.values:
            yield from _list_constants(value)
        return
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def _is_text(text: str) -> bool:
    """Whether a string is for people: it has a word, and is neither an identifier nor an icon."""
    return bool(re.search(r"[A-Za-z]{2}", re.sub(r"\{.*?\}", "", text))) and not re.fullmatch(
        r"[A-Z0-9_]{2,}|[a-z0-9]+[._][a-z0-9_.]+", text
    )


def _list_registered() -> Iterator[str]:
    """The labels and tooltips of everything that the extension registers with Blender."""
    import bpy

    from blender_faceblur.blender.translations.tooltips import get_operator_type, list_subclasses

    kinds: list[Any] = [
        inner
        for outer in ("AddonPreferences", "GizmoGroup", "Menu", "Operator", "Panel", "PropertyGroup")
        for inner in list_subclasses(getattr(bpy.types, outer))
    ]
    blenders = bpy.types.PropertyGroup.bl_rna.properties["name"].description
    for kind in kinds:
        if not getattr(kind, "is_registered", True):
            continue
        rna = kind.bl_rna
        if issubclass(kind, bpy.types.Operator):
            rna = get_operator_type(kind)
            yield from _list_texts(rna.name, " ".join(rna.description.split()))
        elif not issubclass(kind, bpy.types.PropertyGroup | bpy.types.AddonPreferences):
            yield from _list_texts(getattr(kind, "bl_label", ""), getattr(kind, "bl_category", ""))
        annotated = {name for base in kind.__mro__ for name in vars(base).get("__annotations__", {})}
        for one in rna.properties:
            if one.identifier not in annotated or one.identifier.startswith("bl_"):
                continue
            if not one.is_hidden and one.name != one.identifier:
                # Without a label it has its identifier's. A name without a description of its own has Blender's.
                yield from _list_texts(one.name, one.description if one.description != blenders else "")
            if one.type == "ENUM":
                for item in one.enum_items_static:
                    yield from _list_texts(item.name, item.description)


def _list_texts(*texts: str) -> Iterator[str]:
    return (text for text in texts if _is_text(text))


def list_placeholders(message: str) -> list[str]:
    """The names in braces with their formats, sorted."""
    return sorted(f"{name}:{form}" for _, name, form, _ in string.Formatter().parse(message) if name is not None)


def check_catalogue(catalogue: dict[str, str], messages: Iterable[str]) -> list[str]:
    """What is wrong with a language, a line each: messages without translation, wrong placeholders, old messages."""
    wanted = set(messages)
    problems = [f"missing: {message}" for message in sorted(wanted) if not catalogue.get(message)]
    problems += [f"no longer used: {message}" for message in sorted(set(catalogue) - wanted)]
    for message, text in catalogue.items():
        if text and list_placeholders(message) != list_placeholders(text):
            problems.append(f"other placeholders: {message} -> {text}")
    return problems


def main() -> int:
    import blender_faceblur
    from blender_faceblur.blender.translations.catalogue import LANGUAGES, get_catalogue_path, read_catalogue

    parser = argparse.ArgumentParser(prog="build.py translations", description=__doc__)
    parser.add_argument("languages", nargs="*", choices=[*LANGUAGES, []], help="the catalogues to check; else all")
    languages = parser.parse_args().languages or LANGUAGES
    blender_faceblur.register()
    messages = list_messages()
    wrong = 0
    for language in languages:
        problems = check_catalogue(read_catalogue(get_catalogue_path(language)), messages)
        wrong += len(problems)
        print(f"{language}.po: {len(messages)} messages, {len(problems)} problems")
        for problem in problems:
            print(f"  {problem}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

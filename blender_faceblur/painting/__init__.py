# SPDX-License-Identifier: GPL-3.0-or-later
"""Paints covers into the pixels of films and pictures, without Blender."""

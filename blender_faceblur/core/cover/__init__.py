# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyframes and strength of covers, without Blender."""

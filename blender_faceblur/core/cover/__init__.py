# SPDX-License-Identifier: GPL-3.0-or-later
"""Covers without Blender: their keyframes and their strength."""

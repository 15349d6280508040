# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets, and what is done with one picture's detections."""

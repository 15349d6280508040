# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests in Blender's real window."""

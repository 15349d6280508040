# SPDX-License-Identifier: GPL-3.0-or-later
"""Types and algorithms, without Blender."""

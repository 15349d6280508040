# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension in Blender: one folder a feature."""

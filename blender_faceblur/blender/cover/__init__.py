# SPDX-License-Identifier: GPL-3.0-or-later
"""What covers the faces of a strip: node groups, effects, modifiers and mask strips."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Correction of tracks by an editor."""

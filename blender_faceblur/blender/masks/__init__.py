# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks, which hold a strip's tracks: written, read, changed and listed."""

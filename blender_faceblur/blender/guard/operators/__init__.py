# SPDX-License-Identifier: GPL-3.0-or-later
"""Check before rendering, and verify afterwards."""

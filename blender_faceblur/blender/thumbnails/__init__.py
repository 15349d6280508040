# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures of the tracked faces."""

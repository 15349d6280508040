# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands behind build.py; not part of the extension."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of whole commands, from files to covered files."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, and the way from files to covered files."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, which turns files into covered files."""

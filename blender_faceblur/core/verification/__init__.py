# SPDX-License-Identifier: GPL-3.0-or-later
"""Checking a finished film for leaks."""

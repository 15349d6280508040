# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging a finished film."""

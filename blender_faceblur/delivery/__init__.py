# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts pictures and sound together, and checks the result."""

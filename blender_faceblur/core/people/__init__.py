# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognising people, and deciding whom to cover."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching and converting weights, for the command line. The extension has its weights inside and never fetches any."""

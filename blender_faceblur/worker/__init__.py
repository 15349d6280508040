# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs detectors, recognisers and comparisons in processes of their own."""

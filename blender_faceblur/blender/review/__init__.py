# SPDX-License-Identifier: GPL-3.0-or-later
"""The review: doubtful places, one after the other."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""The places of weights, stored analyses and unfinished work."""

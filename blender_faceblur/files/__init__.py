# SPDX-License-Identifier: GPL-3.0-or-later
"""Where weights, stored analyses and unfinished work lie."""

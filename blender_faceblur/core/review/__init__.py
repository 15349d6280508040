# SPDX-License-Identifier: GPL-3.0-or-later
"""The places that an editor should review."""

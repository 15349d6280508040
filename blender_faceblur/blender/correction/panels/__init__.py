# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels from which an editor corrects tracks."""

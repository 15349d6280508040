# SPDX-License-Identifier: GPL-3.0-or-later
"""The tracks document, and an editor's changes to its tracks."""

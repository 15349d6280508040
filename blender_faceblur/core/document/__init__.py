# SPDX-License-Identifier: GPL-3.0-or-later
"""The tracks document, and what an editor does to its tracks."""

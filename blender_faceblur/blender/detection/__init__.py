# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection of faces in strips."""

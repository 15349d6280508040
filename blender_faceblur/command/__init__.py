# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `faceblur` of the Python package. It fetches weights, so the extension does not have it."""

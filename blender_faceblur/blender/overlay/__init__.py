# SPDX-License-Identifier: GPL-3.0-or-later
"""What is drawn over the preview and along the strips."""

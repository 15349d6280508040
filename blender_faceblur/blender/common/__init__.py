# SPDX-License-Identifier: GPL-3.0-or-later
"""What all rooms of the extension use."""

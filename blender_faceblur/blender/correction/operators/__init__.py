# SPDX-License-Identifier: GPL-3.0-or-later
"""What an editor can do to tracks: each operator is one undo step."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""What an editor sees: the tab in the sequencer's sidebar, the list of faces, the menu and the keys."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a scene: who is who, who stays clear, and what is decided of them."""

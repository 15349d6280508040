# SPDX-License-Identifier: GPL-3.0-or-later
"""What an editor can do: each operator is one undo step and calls one function of the modules above."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Export of covered footage, and footage made of what a strip shows."""

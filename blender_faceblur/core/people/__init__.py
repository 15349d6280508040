# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is who, and whom to cover."""

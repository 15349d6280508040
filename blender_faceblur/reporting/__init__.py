# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user is told: progress, outcomes and reports."""

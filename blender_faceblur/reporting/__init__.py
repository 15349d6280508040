# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to the user: progress, outcomes and reports."""

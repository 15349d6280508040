# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs' files about one film: boxes to cover, zones and time spans, and tables of the tracks."""

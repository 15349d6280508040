# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests; one folder a part of the project."""

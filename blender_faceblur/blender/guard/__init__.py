# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard, which checks every cover before a render, and the verification of the finished film."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""What build.py hands over to; not part of the extension."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Face Blur: detects, tracks and covers faces in Blender's Video Sequence Editor and on the command line."""


def register() -> None:
    """Called by Blender when the extension is enabled."""
    import importlib.util
    import sys

    from .blender import registration

    missing = [name for name in ("av", "cv2", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing and __name__.startswith("bl_ext."):
        # A zip for another Python: detection would fail much later, in another process. A checkout may do without them.
        # Nothing is imported here, because Blender must start at once.
        raise ImportError(
            f"Face Blur has no packages for Python {sys.version_info[0]}.{sys.version_info[1]} ({', '.join(missing)}). "
            "Install the zip for this version of Blender."
        )
    registration.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    from .blender import registration

    registration.unregister()

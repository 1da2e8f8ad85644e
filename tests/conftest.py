"""Import the package before any test module: it makes ``mmseg`` and ``mmdet`` importable on this host."""

import denseclip  # noqa: F401

"""A tiny model, as files on disk and loaded."""

from loaded_model import inferencer, loaded, model_files, photo  # noqa: F401

"""A tiny model, as files on disk and loaded."""

from loaded_model import inferencer, loaded, model_files, photo, pipeline, preprocessor  # noqa: F401

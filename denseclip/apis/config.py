"""Configs for inference: reading them, and the part of the test pipeline that a picture without labels passes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import init_default_scope

from denseclip.apis.errors import UserError

# The inferencer reads pictures itself; the rest asks for annotations.
_LEFT_OUT = ('LoadImageFromFile', 'LoadImageFromNDArray', 'InferencerLoader', 'LoadAnnotations', 'CheckLabelRange')


def load_config(config: str | Path | Config | Mapping[str, Any]) -> Config:
    """Read a config and make its scope the default one.

    Python configs are programs: use only those you trust. JSON configs are data. YAML configs are refused, because
    MMEngine's reader lets them run code although they look like data.

    Args:
        config: a file, or a config that is already in memory.

    Returns:
        The config.

    Raises:
        UserError: if there is no such file, it is of another kind, or it has no ``model``.
    """
    if isinstance(config, str | Path):
        path = Path(config)
        if not path.is_file():
            raise UserError(f"config '{config}' does not exist; see the folder configs/ or check the path.")
        if path.suffix not in ('.py', '.json'):
            raise UserError(
                f"config '{config}' must be a .py or .json file; YAML configs can run code and are not read."
            )
        cfg = Config.fromfile(str(path))
    else:
        cfg = config if isinstance(config, Config) else Config(dict(config))
    if not cfg.get('model'):
        raise UserError(
            f"config '{cfg.filename or 'in memory'}' has no 'model'; give the config that was trained with."
        )
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    return cfg


def test_transforms(cfg: Config) -> list[dict[str, Any]]:
    """The test pipeline without reading files and annotations.

    Args:
        cfg: a config with ``test_pipeline`` or ``test_dataloader``.

    Returns:
        Configs of transforms.

    Raises:
        UserError: if the config has no test pipeline.
    """
    pipeline = cfg.get('test_pipeline')
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    while pipeline is None and dataset:
        pipeline, dataset = dataset.get('pipeline'), dataset.get('dataset') or {}
    if not pipeline:
        raise UserError("the config has neither 'test_pipeline' nor 'test_dataloader.dataset.pipeline'; add one.")
    return [step for step in pipeline if step['type'].rsplit('.')[-1] not in _LEFT_OUT]


def build_transforms(steps: list[dict[str, Any]]) -> Compose:
    """Transforms as one callable; MMSeg's are registered first."""
    import mmseg.datasets.transforms  # noqa: F401

    return Compose(steps)


def resizes(steps: list[dict[str, Any]]) -> bool:
    """Whether a pipeline brings pictures to a size of its own, so that large ones need no other limit."""
    return any('Resize' in step['type'] for step in steps)

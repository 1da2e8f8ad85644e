"""Configs for inference: the part of the test pipeline that a picture without labels passes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from denseclip.apis.errors import UserError
from denseclip.core.words import letters_of, shuffled
from denseclip.datasets.sources import plain_datasets
from denseclip.engine.config import load_config
from denseclip.files.shipped import config_file

# The inferencer reads pictures itself; the rest asks for annotations.
_LEFT_OUT = (
    'LoadImageFromFile',
    'LoadImageFromNDArray',
    'InferencerLoader',
    'LoadAnnotations',
    'LoadPanopticSegments',
    'CheckLabelRange',
)


def inference_config(config: str | Path | Config | Mapping[str, Any]) -> Config:
    """Read a config and make its scope the default one.

    Use only configs that you trust: Python configs are programs, and ``type`` and ``custom_imports`` of JSON configs
    name code that is called. YAML configs are refused, because MMEngine's reader runs code while it reads them.

    Args:
        config: a file, the name of one that comes with the package, or a config that is already in memory.

    Returns:
        The config.

    Raises:
        ValueError: if there is no such file, it is of another kind, or it has no ``model``.
    """
    if isinstance(config, str | Path):
        if config_file(config).suffix not in ('.py', '.json'):
            raise UserError(
                f"config '{config}' must be a .py or .json file; YAML configs can run code and are not read."
            )
        cfg = load_config(config)
    else:
        cfg = config if isinstance(config, Config) else Config(dict(config))
    if not cfg.get('model'):
        raise UserError(
            f"config '{cfg.filename or 'in memory'}' has no 'model'; give the config that was trained with."
        )
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    return cfg


def inference_steps(cfg: Config) -> list[dict[str, Any]]:
    """The test pipeline without reading files and annotations.

    Args:
        cfg: a config with ``test_pipeline`` or ``test_dataloader``.

    Returns:
        Configs of transforms.

    Raises:
        UserError: if the config has no test pipeline.
    """
    pipeline = cfg.get('test_pipeline') or _test_dataset(cfg).get('pipeline')
    if not pipeline:
        raise UserError("the config has neither 'test_pipeline' nor 'test_dataloader.dataset.pipeline'; add one.")
    steps = [step for step in pipeline if step['type'].rsplit('.')[-1] not in _LEFT_OUT]
    # JSON has no tuples, and mmcv takes no list for a size.
    return [{key: tuple(v) if _is_size(v) else v for key, v in step.items()} for step in steps]


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, int | float) for v in value)


def build_transforms(steps: list[dict[str, Any]]) -> Compose:
    """Transforms as one callable; MMSeg's are registered first."""
    import mmseg.datasets.transforms  # noqa: F401

    return Compose(steps)


def resizes(steps: list[dict[str, Any]]) -> bool:
    """Whether a pipeline brings pictures to a size of its own, so that large ones need no other limit."""
    return any('Resize' in step['type'] for step in steps)


def dataset_meta(cfg: Config) -> Mapping[str, Any]:
    """Classes and palette of the config's test data set, as far as it or its type declares them."""
    import mmseg.datasets  # noqa: F401

    dataset = _test_dataset(cfg)
    if dataset.get('metainfo'):
        return dataset['metainfo']
    return getattr(DATASETS.get(dataset['type']), 'METAINFO', {}) if dataset.get('type') else {}


def check_trained_order(model: Any, meta: Mapping[str, Any], source: str | Path) -> None:
    """Refuse weights that know the model's classes by other places than its config says.

    Args:
        model: Built from the config.
        meta: Of the checkpoint.
        source: The checkpoint, for the message.

    Raises:
        UserError: The model is closed-set, and its classes are the checkpoint's in another order.
    """
    vocabulary = getattr(model, 'vocabulary', None)
    trained = (meta.get('dataset_meta') or {}).get('classes') or ()
    if vocabulary is None or not getattr(model, 'closed_set', False) or not shuffled(vocabulary.names, trained):
        return
    pairs = enumerate(zip(vocabulary.names, trained, strict=True))
    place = next(k for k, (ours, theirs) in pairs if letters_of(ours) != letters_of(theirs))
    raise UserError(
        f"the classes of '{source}' are those of the config in another order: class {place} was trained as "
        f'"{trained[place]}" and is called "{vocabulary.names[place]}". Put model.vocabulary into the order of the '
        f'training: {"; ".join(trained)}.'
    )


def _test_dataset(cfg: Config) -> Mapping[str, Any]:
    """The first plain test data set, below wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    return next(plain_datasets(dataset), {})

"""What a config names: kinds of data sets, and evaluators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.registry import METRICS

from denseclip.datasets.sources import dataset_class


def evaluators(config: Config, split: str) -> Iterator[Mapping[str, Any]]:
    """Configs of the evaluators of a split.

    Args:
        config: A complete config.
        split: ``'train'`` (none), ``'val'`` or ``'test'``.
    """
    found = config.get(f'{split}_evaluator') or []
    for entry in found if isinstance(found, list | tuple) else [found]:
        if 'type' in entry:
            yield entry


def metric_class(evaluator: Mapping[str, Any]) -> type | None:
    """The class that an evaluator's config names; None where it names none that is known."""
    kind = evaluator['type']
    if isinstance(kind, str):
        with METRICS.switch_scope_and_registry(None) as registry:  # plain names are those of the default scope
            kind = registry.get(kind)
    return kind if isinstance(kind, type) else None


def has_boxes(part: Mapping[str, Any]) -> bool:
    """Whether the config of a data set names one in COCO's layout of objects."""
    kind = dataset_class(part)
    return kind is not None and issubclass(kind, CocoDataset)

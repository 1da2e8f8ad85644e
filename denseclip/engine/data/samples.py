"""Data sets that say what is wrong: a folder that is missing, no picture at all, or one sample that cannot be read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from ...datasets.sources import how_to_get, missing_path, plain_datasets
from ..config import OptionError

_READS_LABELS = ('LoadAnnotations', 'LoadWideAnnotations', 'LabelsIfAny')


class SampleError(RuntimeError):
    """One sample of a data set cannot be read or prepared; the message names its files."""


class DamagedSampleError(SampleError):
    """The picture or the label map of a sample is missing, cut off, no picture, or does not fit the other."""


class NamedPipeline(Compose):
    """A pipeline whose errors name the picture, the label map and the step.

    Args:
        pipeline: The pipeline that it stands for; its transforms are used as they are.
    """

    def __init__(self, pipeline: Compose) -> None:
        self.transforms = pipeline.transforms

    def __call__(self, data: dict) -> dict | None:
        """Run the transforms in turn.

        Raises:
            SampleError: If one of them fails.
        """
        files = {key: data[key] for key in ('img_path', 'seg_map_path') if isinstance(data, dict) and data.get(key)}
        result: dict | None = data
        for transform in self.transforms:
            try:
                result = transform(result)
            except Exception as error:
                if type(error).__module__.startswith('denseclip.') and any(
                    str(f) in str(error) for f in files.values()
                ):
                    raise  # a sentence already
                step = type(transform).__name__
                kind = DamagedSampleError if _is_damaged(step, error) else SampleError
                raise kind(_sentence(step, files, error)) from error
            if result is None:
                return None
            if type(transform).__name__ in _READS_LABELS:
                _require_fit(result, files)
        return result


def _require_fit(result: dict, files: dict[str, Any]) -> None:
    """Refuse a label map that does not lie on its picture; later steps would stretch it."""
    labels, picture = getattr(result.get('gt_seg_map'), 'shape', None), result.get('ori_shape')
    if not labels or not picture:
        return
    label_map = f"label map '{files.get('seg_map_path')}'"
    if len(labels) != 2:
        raise DamagedSampleError(f'{label_map} holds {labels[2]} colours; a label map has one class number a pixel')
    if tuple(labels) != tuple(picture[:2]):
        raise DamagedSampleError(
            f"{label_map} is {labels[1]} x {labels[0]}, its picture '{files.get('img_path')}' is "
            f'{picture[1]} x {picture[0]}; `denseclip check CONFIG` lists all that do not fit'
        )


def _is_damaged(step: str, error: Exception) -> bool:
    """Whether a step fails on what a file holds: no other file, and no other machine, would fail alike."""
    if step not in (*_READS_LABELS, 'LoadImageFromFile'):
        return False
    if isinstance(error, OSError) and error.errno is not None:  # a disk, or rights; Pillow's errors have no number
        return isinstance(error, FileNotFoundError)
    cut = isinstance(error, OSError | SyntaxError | EOFError | zlib.error | struct.error)
    return cut or step == 'LoadImageFromFile'  # OpenCV gives None for what it cannot read


def _sentence(step: str, files: dict[str, Any], error: Exception) -> str:
    """What could not be read, and why."""
    labels = files.get('seg_map_path')
    subject = f"label map '{labels}'" if step in _READS_LABELS and labels else f"picture '{files.get('img_path')}'"
    if step in _READS_LABELS and isinstance(error, KeyError) and 'seg_map_path' in error.args:
        return f"picture '{files.get('img_path')}' has no label map, and the pipeline's {step} wants one"
    if isinstance(error, FileNotFoundError):
        return f'{subject} does not exist; `denseclip check CONFIG` lists all that is missing'
    if step.startswith('Load') and isinstance(error, OSError) and error.strerror:
        return f'{subject} cannot be read: {error.strerror}'
    if _is_damaged(step, error):
        return f'{subject} is empty, damaged or no picture; `denseclip check CONFIG` lists all such files'
    both = f" (label map '{labels}')" if labels and step not in _READS_LABELS else ''
    return f'{subject}{both}: {step} fails with {type(error).__name__}: {error}; look with `denseclip check CONFIG`'


def require_data(config: Config, splits: Iterable[str]) -> None:
    """Look whether the folders of a run are there, before anything is built.

    Args:
        config: Of the run.
        splits: ``train``, ``val``, ``test``.

    Raises:
        OptionError: A folder or list is missing. The message names it and, for known sets, how to get the data.
    """
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmengine'):
        for split in splits:
            absent = absent_data((config.get(f'{split}_dataloader') or {}).get('dataset'))
            if absent:
                raise OptionError(
                    f'{split} data: {absent} Data that lie elsewhere: '
                    f'--cfg-options {split}_dataloader.dataset.data_root=FOLDER'
                )


def absent_data(dataset: Any) -> str:
    """What a data set lacks on disk.

    Args:
        dataset: Its config; names of classes are those of the default scope.

    Returns:
        Sentences that name the folder or list and, for known sets, how to get the data; empty if nothing is missing.
    """
    for part in plain_datasets(dataset) if isinstance(dataset, dict) else ():
        missing = missing_path(part)
        if missing is not None:
            return f"'{missing}' does not exist. {_cure(how_to_get(part))}"
    return ''


def _cure(source: str) -> str:
    return f'{source}.' if source else 'Check data_root in the config.'


@contextmanager
def explained(config: Any) -> Iterator[None]:
    """Say in a sentence that a data set has no picture.

    Args:
        config: Of the data set that is built meanwhile.

    Raises:
        OptionError: It has no picture.
    """
    try:
        yield
    except ValueError as error:
        # MMEngine packs the list of samples into one array, and numpy finds none.
        if 'need at least one array' not in str(error) or not isinstance(config, dict):
            raise
        raise OptionError(_no_picture(config)) from error


def _no_picture(config: dict[str, Any]) -> str:
    part = next(plain_datasets(config))
    prefix = part.get('data_prefix') or {}
    where = prefix.get('img_path', prefix.get('img', ''))
    suffix = f' that ends in {part["img_suffix"]!r}' if part.get('img_suffix') else ''
    return (
        f"data set {part.get('type')}: no picture{suffix} in '{part.get('data_root') or ''}', folder '{where}', or "
        'none is left after filter_cfg; check data_root, data_prefix, img_suffix and ann_file'
    )


def name_samples(dataset: Any) -> None:
    """Let the pipelines of a data set, and of those inside it, name the sample that they fail on."""
    for inner in (getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or ())):
        if inner is not None:
            name_samples(inner)
    if type(getattr(dataset, 'pipeline', None)) is Compose:
        dataset.pipeline = NamedPipeline(dataset.pipeline)

"""What ``tools/test.py --out`` writes: by the kind of metric, under names that tell pictures apart, whole or absent."""

from __future__ import annotations

import inspect
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.registry import METRICS, DefaultScope
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset

from ..datasets.sources import dataset_class, inner_datasets
from ..files.atomic import commit, partial_name
from ..files.stems import output_stems
from .config import OptionError

_LABEL_STEPS = ('LoadAnnotations', 'LoadWideAnnotations', 'CheckLabelRange')


def keep_predictions(config: Config, folder: Path) -> None:
    """Let a test write its predictions.

    Label maps are also written for pictures without labels, which are then not scored.

    Args:
        config: Changed in place.
        folder: Where to.

    Raises:
        OptionError: No metric of the config writes files.
    """
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmengine'):
        evaluators = config.test_evaluator if isinstance(config.test_evaluator, list) else [config.test_evaluator]
        written = [_keep(evaluator, folder) for evaluator in evaluators]
        if not any(written):
            kinds = ', '.join(str(getattr(evaluator.type, '__name__', evaluator.type)) for evaluator in evaluators)
            raise OptionError(f'--out: {kinds}, the metric of this config, writes no files; leave --out out')
        for part in inner_datasets(config.test_dataloader.dataset):
            kind = dataset_class(part)
            if kind is not None and issubclass(kind, BaseSegDataset) and part.get('pipeline'):
                part['pipeline'] = _with_optional_labels(part['pipeline'])


def _keep(evaluator: ConfigDict, folder: Path) -> bool:
    """Whether the metric writes files; then it is told where to."""
    with METRICS.switch_scope_and_registry(None) as registry:  # plain names are those of the default scope
        kind = registry.get(evaluator.type) if isinstance(evaluator.type, str) else evaluator.type
    if kind is None:
        return True  # building it says so
    bases = [base for base in inspect.getmro(kind) if base is not object]
    known = {name for base in bases for name in inspect.signature(base).parameters}
    if 'outfile_prefix' in known:
        evaluator.outfile_prefix = str(staging(folder) / 'results')  # results.bbox.json, as the COCO server takes it
    elif 'output_dir' in known:
        evaluator.output_dir, evaluator.keep_results = str(folder), True
        if kind.__name__ == 'IoUMetric':
            evaluator.type = 'IoUMetricWithFiles'
    else:
        return False
    return True


def _with_optional_labels(steps: Any) -> Any:
    """A pipeline, with all that it nests, that loads labels only where there are some."""
    if isinstance(steps, list | tuple):
        return [_with_optional_labels(step) for step in steps]
    if not isinstance(steps, dict):
        return steps
    if str(steps.get('type')).rsplit('.', 1)[-1] in _LABEL_STEPS:
        return ConfigDict(type='LabelsIfAny', step=steps)
    return ConfigDict(
        {key: _with_optional_labels(value) if key == 'transforms' else value for key, value in steps.items()}
    )


def name_results(runner: Runner) -> None:
    """Tell the metrics that write a file per picture how to name it.

    Usually a result has the picture's own stem; see :func:`denseclip.files.stems.output_stems`. Metrics of anomalies
    write a folder for each category and kind of defect, so that names must differ within these only.

    Args:
        runner: Of a test, built.
    """
    metrics = [metric for metric in runner.test_loop.evaluator.metrics if hasattr(metric, 'output_names')]
    names = result_stems(runner.test_loop.dataloader.dataset, ('category', 'defect_type')) if metrics else {}
    if names:
        for metric in metrics:
            metric.output_names = type(metric.output_names)(names)


def result_stems(dataset: Any, within: Sequence[str] = ()) -> dict[str, str]:
    """A file stem for the results of every picture of a data set.

    Args:
        dataset: A data set of MMEngine; of others nothing is known.
        within: Entries of a picture's information: only pictures that agree in them need different stems.

    Returns:
        Stems by the paths of the pictures.
    """
    if not hasattr(dataset, 'get_data_info'):
        return {}
    groups: defaultdict[tuple[Any, ...], dict[str, None]] = defaultdict(dict)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if 'img_path' in info:
            groups[tuple(info.get(key) for key in within)][str(info['img_path'])] = None
    names: dict[str, str] = {}
    for pictures in groups.values():
        names.update(zip(pictures, output_stems([Path(picture) for picture in pictures]), strict=True))
    return names


def staging(folder: Path) -> Path:
    """Where metrics of other packages write, until their files are whole."""
    return folder / partial_name('results')


@contextmanager
def whole_files(folder: Path | None) -> Iterator[None]:
    """Move what lies in :func:`staging` to a folder once all of it is written; remove it after an error.

    Args:
        folder: The folder; None where nothing is written.
    """
    if folder is None:
        yield
        return
    place = staging(folder)
    try:
        yield
        if is_main_process() and place.is_dir():
            for file in sorted(place.iterdir()):
                commit(file, folder / file.name)
    finally:
        if is_main_process():
            shutil.rmtree(place, ignore_errors=True)

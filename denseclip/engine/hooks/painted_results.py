"""Predictions of a test, drawn by the suite over their photographs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from PIL import Image

from denseclip.visualization.palette import overlay_palette, palette_for
from denseclip.visualization.samples import sample_picture

from ...files.atomic import commit, partial_name
from .vocabulary_check import unwrap_model


@HOOKS.register_module()
class PaintedResultsHook(Hook):
    """Draw every prediction of a test: label maps, segments, objects, anomaly maps.

    Pictures lie in one folder, under the names of their photographs; where several have one name, as far as it takes to
    tell them apart. Those of the photograph's own size (boxes of MMDetection's models) keep its format, others are PNG.
    ``tools/test.py`` adds the hook for ``--show-dir`` and ``--show``.

    Args:
        folder: Where to; None writes nothing.
        show: Whether to open a window for each.
        wait_time: Seconds until it closes.
    """

    priority = 'LOW'

    def __init__(self, folder: str | Path | None = None, show: bool = False, wait_time: float = 0.0) -> None:
        self.folder = None if folder is None else Path(folder)
        self.show, self.wait_time = show, wait_time
        self._names: dict[str, str] = {}

    def before_test(self, runner: Runner) -> None:
        """Give every photograph of the data set a name of its own."""
        from ..predictions import result_stems  # it imports data sets, which nothing else here needs

        self._names = result_stems(runner.test_dataloader.dataset)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Draw the results of a batch.

        Raises:
            OptionError: If they are none that can be drawn.
        """
        del batch_idx, data_batch
        for sample in outputs or ():
            self._draw(runner, sample)

    def _draw(self, runner: Runner, sample: Any) -> None:
        from ..config import OptionError

        path = Path(sample.img_path)
        drawn = painted(runner, sample, runner.test_dataloader.dataset)
        if drawn is None:
            raise OptionError(
                f'--show-dir and --show: {type(unwrap_model(runner.model)).__name__} gives no results that can be drawn'
            )
        if self.show:
            runner.visualizer.show(np.asarray(drawn), win_name=path.name, wait_time=self.wait_time)
        if self.folder is not None:
            stem = self._names.get(str(sample.img_path), path.stem)
            keeps_format = type(sample).__name__ == 'DetDataSample' and path.suffix.lower() in ('.jpg', '.jpeg')
            self._write(drawn, f'{stem}{path.suffix if keeps_format else ".png"}')

    def _write(self, drawn: Image.Image, name: str) -> None:
        assert self.folder is not None
        data = io.BytesIO()
        if name.endswith('.png'):
            drawn.save(data, 'PNG')
        else:
            drawn.save(data, 'JPEG', quality=95, subsampling=0)
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / partial_name(f'{get_rank()}-{name}')
        partial.write_bytes(data.getvalue())
        commit(partial, self.folder / name)


def painted(runner: Runner, sample: Any, dataset: Any) -> Image.Image | None:
    """A prediction over its photograph; None for results that cannot be drawn.

    Args:
        runner: Has the model.
        sample: What the model gave, with ``img_path``.
        dataset: Says names and colours where the model does not.
    """
    from denseclip.apis.images import read_image

    if 'img_path' not in sample:
        return None
    image = read_image(Path(sample.img_path), 'rgb')
    return _anomalies(image, sample) or _classes(runner, image, sample, dataset)


def _anomalies(image: np.ndarray, sample: Any) -> Image.Image | None:
    """The heat of an anomaly map, calibrated by itself; None for other results."""
    if 'anomaly_map' not in sample:
        return None
    from denseclip.apis.anomaly_result import result_of
    from denseclip.apis.images import Picture
    from denseclip.visualization.samples import of_size

    scores = sample.anomaly_map.data.squeeze(0).float().cpu().numpy()
    return result_of(Picture(of_size(image, scores.shape)), scores, float(sample.pred_score)).overlay()


def _classes(runner: Runner, image: np.ndarray, sample: Any, dataset: Any) -> Image.Image | None:
    model = unwrap_model(runner.model)
    known = {**getattr(dataset, 'metainfo', {}), **(getattr(model, 'dataset_meta', None) or {})}
    names = [str(name) for name in known.get('classes') or known.get('CLASSES') or ()]
    if not names:
        return None
    vocabulary = getattr(model, 'vocabulary', None)
    extra = vocabulary is not None and len(names) > len(vocabulary)
    background = len(names) - 1 if extra else None
    palette = known.get('palette')
    fits = palette is not None and len(palette) == len(names)
    colours = np.array(palette, dtype=np.uint8) if fits else palette_for(names)
    return sample_picture(image, sample, names, overlay_palette(names, colours, background), background)

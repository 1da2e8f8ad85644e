"""Find objects in pictures: a detector is loaded once, pictures come and go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from denseclip.apis.config import build_transforms, inference_config, inference_steps
from denseclip.apis.detection import Detections
from denseclip.apis.errors import UserError
from denseclip.apis.images import read_image, to_bgr
from denseclip.apis.inferencer import ImageLike, choose_device
from denseclip.apis.turns import builds, keep_last, turn_of
from denseclip.engine.checkpoints import load_weights, read_training_file
from denseclip.visualization.palette import distinct_palette

DEFAULT_SCORE = 0.3


class Detector:
    """A detector of MMDetection or of this suite, ready for pictures.

    Pictures pass the test pipeline of the config, the same as in evaluation; boxes are in the picture's own pixels.
    Threads may share a detector: one at a time runs the model.

    Args:
        config: config of the model: a file, or a config in memory.
        weights: its checkpoint: a file of this suite, of MMEngine or of DenseCLIP's authors, or another source that
            ``denseclip.weights.resolve`` knows; by default the config's ``load_from``.
        device: such as ``'cpu'`` or ``'cuda:0'``; by default CUDA where there is any.
        trust: allow weights in a pickle that runs code while it is read.

    Raises:
        UserError: if config, weights or device cannot be used, or the model is no detector.
        WeightFileError: if the weights cannot be read.
        WeightMismatchError: if they belong to another model.
    """

    @builds
    def __init__(
        self,
        config: str | Path | Config | Mapping[str, Any],
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        trust: bool = False,
    ) -> None:
        place = choose_device(device)
        cfg = inference_config(config)
        weights = weights or cfg.get('load_from')
        if not weights:
            raise UserError(f"no weights for config '{cfg.filename or 'in memory'}'; give its checkpoint (--weights).")
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmseg'):
            import mmdet.datasets.transforms  # noqa: F401  (registration)

            model = MODELS.build(cfg.model)
            self._transforms = build_transforms(inference_steps(cfg))
        if not hasattr(model, 'with_bbox'):
            raise UserError(f"{type(model).__name__} finds no boxes; use 'denseclip segment' for segmentation models.")
        checkpoint = read_training_file(str(weights), trust=trust)
        load_weights(model, checkpoint['state_dict'], source=weights, strict=True)
        self.model: Any = model.to(place).eval()
        self.names = _class_names(model, checkpoint['meta'], cfg)
        self._palette = distinct_palette(len(self.names))

    def detect(self, image: ImageLike, score: float = DEFAULT_SCORE) -> Detections:
        """Find objects in a picture.

        Args:
            image: a file, a Pillow image, or an array as OpenCV and mmcv have it: ``H x W x 3`` in **BGR** order.
            score: the least confidence of an object, 0..1; the model's own ``score_thr`` may be higher.

        Returns:
            What was found, surest first.

        Raises:
            UnreadableImageError: if the file cannot be read.
        """
        source = Path(image) if isinstance(image, str | Path) else None
        pixels = read_image(source) if source is not None else to_bgr(image)  # type: ignore[arg-type]
        shape = pixels.shape[:2]
        results = {'img': pixels, 'img_path': '', 'img_id': 0, 'img_shape': shape, 'ori_shape': shape}
        with torch.inference_mode(), turn_of(self.model):
            batch = pseudo_collate([self._transforms(results)])
            found = self.model.test_step(batch)[0].pred_instances
        found = found[torch.sort(found.scores, descending=True, stable=True).indices]
        masks = found.masks.cpu().numpy().astype(bool) if 'masks' in found else None
        boxes = found.bboxes.float().cpu().numpy()
        scores = found.scores.float().cpu().numpy()
        labels = found.labels.cpu().numpy()
        return Detections(boxes, labels, scores, masks, self.names, self._palette, pixels, source).above(score)


def _class_names(model: nn.Module, meta: Mapping[str, Any], cfg: Config) -> tuple[str, ...]:
    """Class names of a model: its vocabulary, what its checkpoint says, or the config's data set."""
    vocabulary = getattr(model, 'vocabulary', None)
    if vocabulary is not None:
        return tuple(vocabulary.names)
    known = meta.get('dataset_meta') or {'classes': meta.get('CLASSES')}
    names = known.get('classes') or known.get('CLASSES') or _dataset_classes(cfg)
    count = _number_of_classes(model)
    if names and (count is None or len(names) == count):
        return tuple(names)
    return tuple(f'class {k}' for k in range(count or len(names)))


def _dataset_classes(cfg: Config) -> tuple[str, ...]:
    from mmdet.registry import DATASETS

    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    own = (dataset.get('metainfo') or {}).get('classes')
    kind = DATASETS.get(dataset['type']) if dataset.get('type') else None
    return tuple(own or getattr(kind, 'METAINFO', {}).get('classes', ()))


def _number_of_classes(model: Any) -> int | None:
    head = getattr(model, 'bbox_head', None) or getattr(getattr(model, 'roi_head', None), 'bbox_head', None)
    return getattr(head[-1] if isinstance(head, nn.ModuleList) else head, 'num_classes', None)


@keep_last
def _shared_detector(config: str, weights: str | None, device: str | None) -> Detector:
    return Detector(config, weights, device)


def detect(
    image: ImageLike,
    config: str | Path,
    weights: str | Path | None = None,
    device: str | None = None,
    score: float = DEFAULT_SCORE,
) -> Detections:
    """Find objects in a picture.

    The model of the last call stays loaded; keep a :class:`Detector` to work with several.

    Args:
        image: a file, a Pillow image, or an ``H x W x 3`` array in BGR order.
        config: config of the model.
        weights: its checkpoint; by default the config's ``load_from``.
        device: such as ``'cpu'``; by default CUDA where there is any.
        score: the least confidence of an object, 0..1.

    Returns:
        What was found, surest first, in the picture's own pixels.

    Example:
        >>> found = denseclip.detect('smear.jpg', 'bccd.py', 'bccd.safetensors')  # doctest: +SKIP
        >>> found.counts()  # doctest: +SKIP
    """
    return _shared_detector(str(config), weights and str(weights), device).detect(image, score)

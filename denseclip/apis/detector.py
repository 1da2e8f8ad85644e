"""Find objects in pictures: a detector is loaded once, pictures come and go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from denseclip.apis.batches import run
from denseclip.apis.config import build_transforms, check_trained_order, inference_config, inference_steps
from denseclip.apis.detection import Detections
from denseclip.apis.errors import UserError
from denseclip.apis.images import ChannelOrder, ImageLike, Images, Picture, pictures_of
from denseclip.apis.inferencer import choose_device
from denseclip.apis.predictor import Origin, Predictor
from denseclip.apis.turns import builds, turn_of
from denseclip.engine.checkpoints import load_weights, read_training_file
from denseclip.models.segmentors.mask_results import mask_boxes
from denseclip.visualization.palette import distinct_palette

DEFAULT_SCORE = 0.3


class Detector(Predictor):
    """A detector of MMDetection or of this suite, ready for pictures.

    Pictures pass the test pipeline of the config, the same as in evaluation; boxes are in the picture's own pixels.
    Threads may share a detector: one at a time runs the model.

    Args:
        config: config of the model: a file, or a config in memory.
        weights: its checkpoint: a file of this suite, of MMEngine or of DenseCLIP's authors, or another source that
            ``denseclip.weights.resolve`` knows; by default the config's ``load_from``.
        device: such as ``'cpu'`` or ``'cuda:0'``; by default CUDA where there is any.
        trust: allow weights in a pickle that runs code while it is read.
        score: the least confidence of an object where a call says none, 0..1; by default 0.3.

    Raises:
        UserError: if config, weights, score or device cannot be used, or the model is no detector.
        WeightFileError: if the weights cannot be read.
        WeightMismatchError: if they belong to another model.
    """

    task = 'instance'

    @builds
    def __init__(
        self,
        config: str | Path | Config | Mapping[str, Any],
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        trust: bool = False,
        score: float | None = None,
    ) -> None:
        self.score = DEFAULT_SCORE if score is None else _checked(score)
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
        check_trained_order(model, checkpoint['meta'], weights)
        self.model: Any = model.to(place).eval()
        self.origin = Origin(cfg, str(weights))
        self.names = _class_names(model, checkpoint['meta'], cfg)
        self._palette = distinct_palette(len(self.names))

    @overload
    def detect(
        self, image: ImageLike, score: float | None = None, *, channel_order: ChannelOrder | None = None
    ) -> Detections: ...

    @overload
    def detect(
        self, image: Images, score: float | None = None, *, channel_order: ChannelOrder | None = None
    ) -> list[Detections]: ...

    def detect(self, image: Any, score: float | None = None, *, channel_order: ChannelOrder | None = None) -> Any:
        """Find objects in a picture, or in several.

        Args:
            image: a file, bytes, a Pillow image, an array or a tensor, or a list of them; see
                :meth:`Inferencer.segment`.
            score: the least confidence of an object, 0..1; None: what was said when the model was loaded. The model's
                own ``score_thr`` may be higher.
            channel_order: ``'bgr'`` for arrays of OpenCV and mmcv; arrays and tensors are RGB otherwise.

        Returns:
            What was found, surest first; a list of it for several pictures.

        Raises:
            UnreadableImageError: if the file cannot be read.
            UserError: if it is no picture, the score is no number between 0 and 1, or the model gives no objects.
        """
        least = self.score if score is None else _checked(score)
        pictures, several = pictures_of(image, channel_order)
        with torch.inference_mode(), turn_of(self.model):
            packed = [self._transforms(_packable(picture)) for picture in pictures]
            samples = run(packed, self._step, self.most_at_once)
        if not all('pred_instances' in sample for sample in samples):
            raise UserError(
                f'{type(self.model).__name__} gives segments and no objects; set test_cfg.instance_on=True in its '
                'config, if it was trained for objects.'
            )
        found = [self._result(s.pred_instances, p).above(least) for s, p in zip(samples, pictures, strict=True)]
        return found if several else found[0]

    def _find(self, image: Any, *args: Any, **options: Any) -> Any:
        return self.detect(image, *args, **options)

    def _result(self, found: Any, picture: Picture) -> Detections:
        found = found[torch.sort(found.scores, descending=True, stable=True).indices]
        masks = found.masks.cpu().numpy().astype(bool) if 'masks' in found else None
        boxes = found.bboxes.float().cpu().numpy()
        if masks is not None and not boxes.any():  # SOLO and its kin find masks alone, and fill boxes with zeros
            boxes = mask_boxes(torch.from_numpy(masks)).numpy()
        scores = found.scores.float().cpu().numpy()
        labels = found.labels.cpu().numpy()
        return Detections(boxes, labels, scores, masks, self.names, self._palette, picture.rgb, picture.source)


def _checked(score: Any) -> float:
    """A least score.

    Raises:
        UserError: if it is no number between 0 and 1.
    """
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise UserError(f'the least score is {score!r}; it must be a number between 0 and 1.')
    return score


def _packable(picture: Picture) -> dict[str, Any]:
    shape = picture.rgb.shape[:2]
    return {'img': picture.bgr, 'img_path': '', 'img_id': 0, 'img_shape': shape, 'ori_shape': shape}


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

"""Find defects in pictures of a named object: a model is loaded once, pictures and objects come and go."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS

from denseclip.apis.anomaly_predictor import AnomalyPredictor, Subject, check_name
from denseclip.apis.batches import run
from denseclip.apis.config import inference_config
from denseclip.apis.errors import UserError
from denseclip.apis.images import ImageLike, Picture
from denseclip.apis.inferencer import choose_device
from denseclip.apis.methods import METHODS
from denseclip.apis.predictor import Origin
from denseclip.apis.turns import builds, turn_of
from denseclip.apis.zoo import ours
from denseclip.engine.checkpoints import load_weights, read_training_file
from denseclip.structures import AnomalyDataSample
from denseclip.weights.source import SCHEMES


class AnomalyInferencer(AnomalyPredictor):
    """An anomaly model, ready for pictures.

    An object given with a call belongs to that call; :meth:`set_object` says what calls without one show. Threads may
    share an inferencer and call any of its methods: one at a time runs the model, each gets its own object.

    Args:
        config: Config of the model, a file or in memory; by default AnoVL without adaptation, on ViT-B-16-plus-240.
        weights: Checkpoint of the whole model, for methods that train.
        device: Such as ``'cpu'`` or ``'cuda:0'``; by default CUDA where there is any.
        clip: Another CLIP: an open_clip architecture, ``local-dir:FOLDER``, ``hf-hub:NAME`` or a weight file in
            OpenAI's layout.
        pretrained: CLIP's weights: a tag or a file.
        trust: Allow weights in a pickle that runs code while it is read.
        checkpoint: Former name of ``weights``, which meant CLIP's weights then.

    Raises:
        UserError: If config or device cannot be used.
        ValueError: If the CLIP is unknown.
        WeightFileError: If weights cannot be read.
    """

    @builds
    def __init__(
        self,
        config: str | Path | Config | Mapping[str, Any] | None = None,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        *,
        clip: str | None = None,
        pretrained: str | Path | None = None,
        trust: bool = False,
        checkpoint: str | Path | None = None,
    ) -> None:
        weights, pretrained = renamed_weights(config, weights, pretrained, checkpoint)
        place = choose_device(device)
        cfg = inference_config(default_config() if config is None else config)
        if clip is not None or pretrained is not None:
            given = cfg.model.get('clip') or {}
            cfg.model.clip = dict(
                model=clip or given.get('model'), pretrained=pretrained and str(pretrained), trust=trust
            )
        model: Any = MODELS.build(cfg.model)
        if not hasattr(model, 'set_object'):
            raise UserError(f'{type(model).__name__} is no anomaly model; use a config of configs/anovl/.')
        if weights is not None:
            state = read_training_file(str(weights), trust=trust)['state_dict']
            load_weights(model, state, source=weights, strict=True)
        model.map_size = 'original'
        self.model: Any = model.to(place).eval()
        self.origin = Origin(cfg, None if weights is None else str(weights))
        self._subject: Subject = (model.object_name, getattr(model, 'domain', None), getattr(model, 'defects', None))
        turn_of(model).asked = self._subject

    def set_object(self, name: str, domain: str | None = None, defects: str | Sequence[str] | None = None) -> Any:
        """See :meth:`AnomalyPredictor.set_object`."""
        with turn_of(self.model):
            prompts = self._tell((name, domain, defects))
            self._subject = (name, domain, defects)
        return prompts

    def _tell(self, subject: Subject) -> Any:
        """Set the model's object; call it in the model's turn."""
        check_name(subject)
        turn = turn_of(self.model)
        turn.asked = None
        prompts = self.model.set_object(*subject)
        turn.asked = subject
        return prompts

    @property
    def references(self) -> int:
        """Number of distinct pictures that others are compared with; 0 for models that go by words alone."""
        count = getattr(self.model, 'references', None)
        return count if isinstance(count, int) else 0 if count is None else len(count.pooled)

    def set_references(self, pictures: Sequence[ImageLike]) -> None:
        """Give pictures to compare with: good ones, or for the method ``batch`` all that are looked at.

        Their order does not matter, and no more than one is kept at a time where the model allows it.

        Args:
            pictures: Files or pictures in any form.

        Raises:
            UnreadableImageError: If one cannot be read.
            UserError: If there is none, or the model compares nothing.
        """
        if not hasattr(self.model, 'set_references'):
            raise UserError(f'{type(self.model).__name__} goes by words alone: leave the good pictures out.')
        if not pictures:
            raise UserError('references need at least one picture.')
        ready = _Prepared(self, pictures)
        with turn_of(self.model), torch.no_grad():
            self.model.set_references(
                torch.stack(list(ready)) if getattr(self.model, 'stacks_references', False) else ready
            )

    def vouches(self, picture: ImageLike) -> bool:
        """See :meth:`AnomalyPredictor.vouches`."""
        with turn_of(self.model):
            if getattr(self.model, 'leaves_out', True):
                return True
            return not self.model.holds(_Prepared(self, [picture])[0])

    def _score(self, pictures: Sequence[Picture], subject: Subject) -> list[tuple[np.ndarray, float]]:
        packed = [self._pack(picture.bgr) for picture in pictures]
        with torch.no_grad(), turn_of(self.model) as turn:
            if turn.asked != subject:
                self._tell(subject)
            found = run(packed, self._step, self.most_at_once)
        return [(s.anomaly_map.data[0].float().cpu().numpy(), float(s.pred_score)) for s in found]

    def _pack(self, pixels: np.ndarray) -> dict[str, Any]:
        height, width = self.model.input_shape(*pixels.shape[:2])
        scaled = mmcv.imresize(pixels, (width, height), interpolation='bilinear', backend='pillow')
        sample = AnomalyDataSample(metainfo=dict(ori_shape=pixels.shape[:2], img_shape=(height, width)))
        return {'inputs': torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1))), 'data_samples': sample}


class _Prepared(Sequence[torch.Tensor]):
    """Pictures as a model takes them, (3, H, W), each read and normalised whenever it is asked for."""

    def __init__(self, inferencer: AnomalyInferencer, pictures: Sequence[ImageLike]) -> None:
        self.inferencer, self.pictures = inferencer, pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: Any) -> Any:
        packed = self.inferencer._pack(Picture.of(self.pictures[number]).bgr)
        [image] = self.inferencer.model.data_preprocessor(pseudo_collate([packed]), False)['inputs']
        return image


def default_config() -> Path:
    """The config that is used when none is named.

    Raises:
        UserError: If this copy of the package came without it.
    """
    return ours(METHODS['anovl'].config)


def renamed_weights(
    config: Any, weights: str | Path | None, pretrained: str | Path | None, checkpoint: str | Path | None
) -> tuple[Any, Any]:
    """What ``weights`` and ``pretrained`` mean, where the former names were used: ``checkpoint`` and ``weights``.

    Returns:
        The model's checkpoint, and CLIP's weights.
    """
    if checkpoint is not None:
        warnings.warn(
            'checkpoint is called weights now, and weights (of CLIP) pretrained; the former names go with the next '
            'release.',
            FutureWarning,
            stacklevel=3,
        )
        return checkpoint, weights if pretrained is None else pretrained
    if weights is not None and pretrained is None and (config is None or _is_tag(weights)):
        warnings.warn(
            f"'{weights}' is taken for CLIP's weights, which are called pretrained now (--pretrained); from the next "
            "release on, weights mean the model's checkpoint.",
            FutureWarning,
            stacklevel=3,
        )
        return None, weights
    return weights, pretrained


def _is_tag(weights: str | Path) -> bool:
    """Whether weights are a tag of open_clip and no file or source."""
    text = str(weights)
    return not (Path(text).suffix or Path(text).exists() or '/' in text or text.startswith(SCHEMES))

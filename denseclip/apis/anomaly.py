"""Find defects in pictures of a named object: a model is loaded once, pictures and objects come and go."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, overload

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image

from denseclip.apis.anomaly_calibration import Calibration
from denseclip.apis.batches import run
from denseclip.apis.config import inference_config
from denseclip.apis.errors import UserError
from denseclip.apis.images import ChannelOrder, ImageLike, Images, Picture, pictures_of
from denseclip.apis.inferencer import choose_device
from denseclip.apis.methods import METHODS
from denseclip.apis.predictor import Predictor
from denseclip.apis.results.base import Region, Result
from denseclip.apis.turns import builds, turn_of
from denseclip.apis.zoo import ours
from denseclip.engine.checkpoints import load_weights, read_training_file
from denseclip.files.names import shown
from denseclip.structures import AnomalyDataSample
from denseclip.visualization.anomaly_pictures import Box, areas_of, boxes_of, draw_boxes, draw_outline, heat_overlay
from denseclip.weights.source import SCHEMES

Subject = tuple[str | None, str | None, str | Sequence[str] | None]
"""Object, domain and defects of pictures."""

LIMIT = 0.5
"""Calibrated score at which the usual ends."""

DEFECT = 'anomaly'
"""Name of the one class of defects."""


@dataclass(frozen=True, eq=False)
class AnomalyResult(Result):
    """What a model says about one picture; ``anomaly_map`` and ``pred_score`` mean what anomalib means by them.

    Attributes:
        anomaly_map: Raw score of every pixel, float32, shape (H, W) of the picture.
        pred_score: Raw score of the picture.
        image: The picture, RGB, uint8, shape (H, W, 3).
        source: Its file, if it came from one.
        pixels: Brings raw pixel scores to 0..1.
        pictures: Brings raw picture scores to 0..1.
        threshold: Calibrated score from which on a pixel counts as anomalous.
    """

    kind: ClassVar[str] = 'anomaly'

    anomaly_map: np.ndarray
    pred_score: float
    image: np.ndarray
    source: Path | None
    pixels: Calibration
    pictures: Calibration
    threshold: float = LIMIT

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """One class, ``'anomaly'``."""
        return (DEFECT,)

    @property
    def scores(self) -> np.ndarray:  # type: ignore[override]
        """:attr:`score` as an array of one, ``float32``."""
        return np.array([self.score], dtype=np.float32)

    @property
    def score(self) -> float:
        """Calibrated score of the picture, 0..1."""
        return float(self.pictures(self.pred_score))

    @property
    def score_map(self) -> np.ndarray:
        """Calibrated score of every pixel, 0..1, float32, shape (H, W)."""
        return self.pixels(self.anomaly_map).astype(np.float32)

    def mask(self, threshold: float | None = None) -> np.ndarray:
        """Pixels whose calibrated score reaches a threshold (:attr:`threshold` by default), bool, shape (H, W)."""
        return self.anomaly_map >= self.pixels.raw(self.threshold if threshold is None else threshold)

    def boxes(self, threshold: float | None = None) -> list[Box]:
        """Boxes around the connected areas of :meth:`mask`, highest calibrated score first."""
        return boxes_of(self.mask(threshold), self.score_map)

    def overlay(self, threshold: float | None = None) -> Image.Image:
        """The picture with the heat of the map over it, and outlines and boxes at the threshold."""
        thickness = max(1, round(min(self.image.shape[:2]) / 300))
        heat = draw_outline(heat_overlay(self.image, self.score_map), self.mask(threshold), thickness)
        return Image.fromarray(draw_boxes(heat, self.boxes(threshold), thickness))

    def regions(self) -> Iterator[Region]:
        """The connected areas of :meth:`mask`, highest calibrated score first, without specks."""
        for mask, score in areas_of(self.mask(), self.score_map):
            yield Region.of_mask(0, DEFECT, mask, score)

    def summary(self) -> str:
        """Score and number of defects, for the terminal."""
        height, width = self.image.shape[:2]
        return f'{shown(self.source)}  {width} x {height}  score {self.score:.3f}  {len(self.boxes())} areas'

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Result.to_dict`; ``score`` (calibrated) and ``raw_score`` are those of the picture."""
        said = {'score': self.score, 'raw_score': self.pred_score, 'threshold': self.threshold}
        return {**super().to_dict(), **said}

    def save(
        self,
        folder: str | Path,
        stem: str | None = None,
        force: bool = False,
        formats: str | Sequence[str] | None = None,
        threshold: float | None = None,
    ) -> list[Path]:
        """Write ``<stem>_heat.png``, ``<stem>_mask.png`` (0 and 255) and ``<stem>_map.tiff`` (raw scores, float32).

        Args:
            folder: See :meth:`Result.save`.
            stem: See there.
            force: See there.
            formats: See there.
            threshold: Calibrated score of masks and outlines in place of :attr:`threshold`.

        Raises:
            UserError: See there.
        """
        shown = self if threshold is None else replace(self, threshold=threshold)
        return super(AnomalyResult, shown).save(folder, stem, force, formats)


def mask_picture(mask: np.ndarray) -> Image.Image:
    """A mask as a picture of 0 and 255."""
    return Image.fromarray(mask.astype(np.uint8) * np.uint8(255))


def encode(picture: Image.Image, suffix: str) -> bytes:
    """A picture as the content of a file: ``.png``, ``.jpg`` or ``.tiff``."""
    out = io.BytesIO()
    kind, options = {'.png': ('PNG', {}), '.jpg': ('JPEG', {'quality': 90}), '.tiff': ('TIFF', {})}[suffix]
    picture.save(out, kind, **options)
    return out.getvalue()


class AnomalyInferencer(Predictor):
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

    task = 'anomaly'

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
        self._subject: Subject = (model.object_name, getattr(model, 'domain', None), getattr(model, 'defects', None))
        turn_of(model).asked = self._subject

    def _find(self, image: Any, *args: Any, **options: Any) -> Any:
        return self.localize(image, *args, **options)

    @property
    def subject(self) -> Subject:
        """Object, domain and defects of calls without an object."""
        return self._subject

    @property
    def object_name(self) -> str | None:
        """What pictures of calls without an object show."""
        return self._subject[0]

    def set_object(self, name: str, domain: str | None = None, defects: str | Sequence[str] | None = None) -> Any:
        """Say what the pictures show from now on; text is encoded once, at the next picture.

        Args:
            name: The product in words, such as ``'metal nut'``.
            domain: Kind of pictures: one of the prompt set's, or a phrase with its article
                (``'a satellite image'``); None: by the name.
            defects: Own defect words besides the general ones, ``'scratch; dent'`` or a list.

        Returns:
            The prompts that follow.

        Raises:
            ValueError: If the domain is unknown or a word is empty.
        """
        with turn_of(self.model):
            prompts = self._tell((name, domain, defects))
            self._subject = (name, domain, defects)
        return prompts

    def _tell(self, subject: Subject) -> Any:
        """Set the model's object; call it in the model's turn."""
        if not isinstance(subject[0], str):
            raise UserError(f'an object is named by words, such as "metal nut", not by {subject[0]!r:.60}.')
        turn = turn_of(self.model)
        turn.asked = None
        prompts = self.model.set_object(*subject)
        turn.asked = subject
        return prompts

    def predict(
        self,
        image: ImageLike,
        object: str | None = None,
        domain: str | None = None,
        defects: str | Sequence[str] | None = None,
        *,
        channel_order: ChannelOrder | None = None,
    ) -> tuple[np.ndarray, float, np.ndarray]:
        """Raw answer for a picture: map (H, W) float32 in its own size, score, and the picture, RGB.

        Args:
            image: A file, bytes, a Pillow image, an array or a tensor; see :meth:`Inferencer.segment`.
            object: What this picture shows; None: see :meth:`set_object`.
            domain: See :meth:`set_object`; goes with ``object``.
            defects: See there.
            channel_order: ``'bgr'`` for arrays of OpenCV and mmcv; arrays and tensors are RGB otherwise.

        Raises:
            UnreadableImageError: If the file cannot be read.
            UserError: If it is no picture, or nothing says what the picture shows.
            ValueError: See :meth:`set_object`.
        """
        [(scores, score)] = self._predict([picture := Picture.of(image, channel_order)], (object, domain, defects))
        return scores, score, picture.rgb

    def _predict(self, pictures: Sequence[Picture], said: Subject) -> list[tuple[np.ndarray, float]]:
        """Raw maps and scores; ``said`` is what the call says that the pictures show."""
        name, domain, defects = said
        if name is None and (domain is not None or defects is not None):
            raise UserError('domain and defects go with object: give it as well, or use set_object().')
        subject = self._subject if name is None else said
        if subject[0] is None:
            raise UserError("say what the pictures show: object='metal nut' (--object on the command line).")
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

    @overload
    def localize(
        self,
        image: ImageLike,
        object: str | None = None,
        domain: str | None = None,
        defects: str | Sequence[str] | None = None,
        *,
        channel_order: ChannelOrder | None = None,
    ) -> AnomalyResult: ...

    @overload
    def localize(
        self,
        image: Images,
        object: str | None = None,
        domain: str | None = None,
        defects: str | Sequence[str] | None = None,
        *,
        channel_order: ChannelOrder | None = None,
    ) -> list[AnomalyResult]: ...

    def localize(
        self,
        image: Any,
        object: str | None = None,
        domain: str | None = None,
        defects: str | Sequence[str] | None = None,
        *,
        channel_order: ChannelOrder | None = None,
    ) -> Any:
        """Find defects in a picture, or in each of several; arguments and errors as in :meth:`predict`.

        Pixel scores are calibrated by the picture's own map, its score around the even one; to compare pictures, use
        :func:`denseclip.apis.anomaly_folder.inspect_pictures`, which calibrates all of them together.

        Returns:
            The result; a list of results for a list of pictures.
        """
        pictures, several = pictures_of(image, channel_order)
        answers = self._predict(pictures, (object, domain, defects))
        found = [result_of(picture, *answer) for picture, answer in zip(pictures, answers, strict=True)]
        return found if several else found[0]


def result_of(picture: Picture, scores: np.ndarray, score: float) -> AnomalyResult:
    """A result calibrated by itself.

    Args:
        picture: The picture.
        scores: Raw map in its size, float32.
        score: Raw score.
    """
    own = Calibration.of_quantiles(lambda share: float(np.quantile(scores, share)))
    return AnomalyResult(scores, score, picture.rgb, picture.source, own, Calibration.of_scores([score]))


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

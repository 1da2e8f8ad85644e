"""Segment pictures by words: a model is loaded once, pictures and vocabularies come and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from denseclip.apis.active_words import ChoosesWords, choice_of
from denseclip.apis.batches import described, run
from denseclip.apis.confidence import Wishes, find_calibration
from denseclip.apis.config import (
    build_transforms,
    check_trained_order,
    dataset_meta,
    inference_config,
    inference_steps,
    resizes,
)
from denseclip.apis.errors import UserError
from denseclip.apis.images import ChannelOrder, ImageLike, Images, Picture, pictures_of
from denseclip.apis.pixel_heads import TakesPixelHead, strangeness_of, without_unknown
from denseclip.apis.predictor import Origin, Predictor
from denseclip.apis.presets import DEFAULT_CLIP, preset_model
from denseclip.apis.segmentation import Segmentation, result_names
from denseclip.apis.turns import Turn, builds, turn_of
from denseclip.apis.zoo import default_model
from denseclip.clip.vocabulary import Vocabulary
from denseclip.engine.checkpoints import load_weights, read_training_file
from denseclip.engine.model_class import fitted
from denseclip.models.functional.label_map import label_dtype
from denseclip.models.pixel_trail import PixelRequest
from denseclip.models.segmentors.word_scoring import score_sample
from denseclip.structures.deciders import DECIDERS
from denseclip.structures.word_scores import Calibration, ScoreRequest
from denseclip.visualization.palette import palette_for
from denseclip.weights import Uninitialised, WeightFileError

MAX_SIDE = 2048
"""Longest side of pictures whose pipeline does not resize them."""


@dataclass(frozen=True, eq=False)
class Words:
    """What a call tells apart, and what its result shows.

    Attributes:
        asked: What the model is asked for: classes, and which of them are things where that matters.
        vocabulary: What the model makes of it; it may add a background.
        palette: RGB of every label, ``uint8``.
    """

    asked: tuple[Vocabulary, Any]
    vocabulary: Vocabulary
    palette: np.ndarray


class Inferencer(ChoosesWords, TakesPixelHead, Predictor):
    """A model, ready for pictures.

    Pictures pass the test pipeline of the config, the same as in evaluation; results have the picture's own size.
    Pipelines without a ``Resize`` get pictures scaled down to a long side of 2048. Strips longer than 16 times their
    width are extended by repeating their border, so that nothing in the network vanishes.

    Words given with a call belong to that call; :meth:`set_vocabulary` says what calls without words tell apart.
    Threads may share an inferencer and call any of its methods: one at a time runs the model, each gets its own words.

    Args:
        config: config of the model: a file, or a config in memory; by default the bundled model.
        weights: its checkpoint: a file of this suite, of MMEngine or of DenseCLIP's authors, or another source that
            ``denseclip.weights.resolve`` knows; by default the bundled one, or the config's ``load_from``.
        device: such as ``'cpu'`` or ``'cuda:0'``; by default CUDA where there is any.
        vocabulary: classes to tell apart, in any form that ``Vocabulary.of`` knows; by default the model's own.
        trust: allow weights in a pickle that runs code while it is read.

    Attributes:
        calibration: Makes confidences of what the model sees of a word; read from beside the weights, None if none is
            there: results then have ranks, see :class:`Segmentation`.

    Raises:
        UserError: if config, weights, device or vocabulary cannot be used.
        WeightFileError: if the weights cannot be read.
        WeightMismatchError: if they belong to another model.
    """

    task = 'semantic'

    @builds
    def __init__(
        self,
        config: str | Path | Config | Mapping[str, Any] | None = None,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        vocabulary: Any = None,
        trust: bool = False,
    ) -> None:
        if config is None and weights is not None:
            raise UserError(
                'weights were given without their model; name it, or give its config (--model, --config, config=).'
            )
        bundled = config is None
        if config is None:
            config, weights = default_model()
        place = choose_device(device)
        cfg = inference_config(config)
        weights = weights or cfg.get('load_from')
        if not weights:
            raise UserError(f"no weights for config '{cfg.filename or 'in memory'}'; give its checkpoint (--weights).")
        try:
            cfg = fitted(cfg, weights, 'mmseg')
        except (FileNotFoundError, ImportError, WeightFileError) as error:
            raise UserError(str(error)) from error
        checkpoint = read_training_file(str(weights), trust=trust)  # first: a large model takes its time to be built
        # Weights come from the checkpoint, whatever the config says about pretraining; the bundled one holds them all.
        with Uninitialised() if bundled else nullcontext():
            model = MODELS.build(cfg.model)
        load_weights(model, checkpoint['state_dict'], source=weights, strict=True)
        check_trained_order(model, checkpoint['meta'], weights)
        meta = checkpoint['meta'].get('dataset_meta') or dataset_meta(cfg)
        self._set_up(model.to(place), inference_steps(cfg), meta)
        self.origin = Origin(cfg, str(weights))
        self.calibration: Calibration | None = find_calibration(weights)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    @classmethod
    def from_preset(
        cls,
        preset: str,
        vocabulary: Any,
        clip: str = DEFAULT_CLIP,
        pretrained: str | Path | None = None,
        device: str | torch.device | None = None,
        trust: bool = False,
        **settings: Any,
    ) -> Inferencer:
        """A training-free method on any CLIP: nothing but words and CLIP's weights is needed.

        Args:
            preset: Name of the method, see ``denseclip.clip.presets``.
            vocabulary: Classes, in any form that ``Vocabulary.of`` knows.
            clip: open_clip architecture, ``hf-hub:`` or ``local-dir:``.
            pretrained: Tag of open_clip or file of weights; None is OpenAI's for architectures that have them.
            device: See :class:`Inferencer`.
            trust: See :class:`Inferencer`.
            **settings: Further arguments of the segmentor (``affinity``, ``regions``, ``post`` ...).

        Raises:
            UserError: If preset, model, device or vocabulary cannot be used.
        """
        place = choose_device(device)
        model, steps = preset_model(preset, vocabulary, clip, pretrained, trust, **settings)
        inferencer = cls.from_model(model.to(place), steps)
        if not settings:
            inferencer.calibration = find_calibration(pretrained or clip, preset)
        return inferencer

    @classmethod
    def from_model(
        cls, model: nn.Module, transforms: list[dict[str, Any]], meta: Mapping[str, Any] | None = None
    ) -> Inferencer:
        """Wrap a model that was built and loaded elsewhere.

        Args:
            model: an MMSeg segmentor.
            transforms: configs of its test transforms, without reading files (see ``denseclip.apis.config``).
            meta: ``classes`` and ``palette`` of a model without a vocabulary of its own.
        """
        inferencer = cls.__new__(cls)
        inferencer._set_up(model, transforms, meta or {})
        return inferencer

    def _set_up(self, model: Any, steps: list[dict[str, Any]], meta: Mapping[str, Any]) -> None:
        self.model: Any = model.eval()
        self.steps = tuple(steps)
        self._transforms = build_transforms(steps)
        self._limit = None if resizes(steps) else MAX_SIDE
        self._turn: Turn = turn_of(model)
        self.calibration = None
        own = getattr(model, 'vocabulary', None)
        if own is None:
            names = meta.get('classes') or [f'class {k}' for k in range(self.model.decode_head.num_classes)]
            own = Vocabulary.from_names(names)
        known = meta.get('palette')
        fits = known is not None and len(known) == len(result_names(own))
        palette = np.array(known, dtype=np.uint8) if fits else _make_palette(own)
        with self._turn:
            self._own_words = self._words = self._as_it_is(own, palette)

    def _as_it_is(self, vocabulary: Vocabulary, palette: np.ndarray) -> Words:
        """The words that the model has already; call it in the model's turn."""
        asked = vocabulary, self._present_things()
        self._turn.asked, self._turn.vocabulary = asked, getattr(self.model, 'vocabulary', None)
        return Words(asked, vocabulary, palette)

    def _present_things(self) -> Any:
        """Which classes the model counts at present; only query-based models do."""
        return None

    @property
    def own_vocabulary(self) -> Vocabulary:
        """The classes that the model came with."""
        return self._own_words.vocabulary

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes that calls without words tell apart."""
        return self._words.vocabulary

    def set_vocabulary(self, vocabulary: Any) -> None:
        """Tell other classes apart from now on, in all calls without words of their own.

        Text is encoded once, at the next picture.

        Args:
            vocabulary: anything that ``Vocabulary.of`` accepts.

        Raises:
            UserError: if the model's classes are fixed, or it cannot do what the vocabulary asks.
        """
        wanted = Vocabulary.of(vocabulary)
        with self._turn:
            self._words = self._take(self._asked(wanted))

    def _asked(self, vocabulary: Vocabulary, things: Any = None) -> tuple[Vocabulary, Any]:
        """What a vocabulary means to this model: words that it has had keep their meaning."""
        for known in (self._words, self._own_words):
            if vocabulary in (known.asked[0], known.vocabulary):
                return known.asked
        return vocabulary, things

    def _words_of_call(self, vocabulary: Vocabulary | None, things: Any = None) -> Words:
        """Give the model the words of a call, None for the present ones; call it in the model's turn."""
        turn, found = self._turn, getattr(self.model, 'vocabulary', None)
        if found is not None and found is not turn.vocabulary and turn.asked is not None:  # the model was told directly
            self._words = self._as_it_is(found, _make_palette(found))
        if vocabulary is None and things is None:
            return self._take(self._words.asked)
        return self._take(self._asked(vocabulary or self.vocabulary, things))

    def _take(self, asked: tuple[Vocabulary, Any]) -> Words:
        """Give the model words unless it has them; call it in the model's turn.

        Raises:
            UserError: See :meth:`set_vocabulary`; the words that the model had are given back at the next call.
        """
        turn = self._turn
        if turn.asked != asked or getattr(self.model, 'vocabulary', None) is not turn.vocabulary:
            turn.asked = None
            try:
                self._tell(*asked)
            except ValueError as error:
                raise UserError(str(error)) from error
            turn.asked, turn.vocabulary = asked, getattr(self.model, 'vocabulary', None)
        for known in (self._words, self._own_words):
            if known.asked == asked:
                return known
        vocabulary = turn.vocabulary or asked[0]  # it may have added a background
        return Words(asked, vocabulary, _make_palette(vocabulary))

    def _tell(self, vocabulary: Vocabulary, things: Any) -> None:
        """Set the model's words.

        Raises:
            ValueError: If it cannot do what the vocabulary asks.
        """
        del things
        if not hasattr(self.model, 'set_vocabulary'):
            names = self.vocabulary.names
            listed = ', '.join(names[:10]) + (', ...' if len(names) > 10 else '')
            raise UserError(
                f'{type(self.model).__name__} tells apart its {len(names)} training classes only ({listed}); leave the '
                'classes out, or use a config with an open vocabulary.'
            )
        self.model.set_vocabulary(vocabulary)

    @overload
    def segment(
        self,
        image: ImageLike,
        classes: Any = None,
        *,
        channel_order: ChannelOrder | None = None,
        min_confidence: float | None = None,
        min_area: float | None = None,
        pixel_scores: bool = False,
        scores: bool = True,
    ) -> Segmentation: ...

    @overload
    def segment(
        self,
        image: Images,
        classes: Any = None,
        *,
        channel_order: ChannelOrder | None = None,
        min_confidence: float | None = None,
        min_area: float | None = None,
        pixel_scores: bool = False,
        scores: bool = True,
    ) -> list[Segmentation]: ...

    def segment(
        self,
        image: Any,
        classes: Any = None,
        *,
        channel_order: ChannelOrder | None = None,
        min_confidence: float | None = None,
        min_area: float | None = None,
        pixel_scores: bool = False,
        scores: bool = True,
    ) -> Any:
        """Segment a picture, or several.

        Args:
            image: a file; bytes or an open file of one; a Pillow image; an array ``H x W x 3`` (grey and four channels
                work too); a tensor ``3 x H x W``; 8-bit or float in 0..1. A list of these, or an array or tensor with
                four dimensions, are several pictures; those of one size run together.
            classes: words to look for in this picture, in any form that ``Vocabulary.of`` knows, such as
                ``'road; car=automobile,vehicle; sky'`` or a list; None takes the present ones (:attr:`vocabulary`).
            channel_order: ``'bgr'`` for arrays of OpenCV and mmcv; arrays and tensors are RGB otherwise.
            min_confidence: classes with a lower score (:attr:`Segmentation.scores`) are left out, 0..1. Their pixels go
                to the next best class that is left; where none is left, to ``nothing``.
            min_area: classes that cover a smaller share of the picture are left out likewise, 0..1.
            pixel_scores: also give :attr:`Segmentation.pixel_scores`, ``4 K H W`` bytes.
            scores: whether to find out how sure the model is of each class (:attr:`Segmentation.scores`); without,
                the others above cannot be asked for, and a picture takes up to a tenth less time.

        Returns:
            The result in the picture's own size; a list of results for several pictures.

        Raises:
            UnreadableImageError: if the file cannot be read.
            UserError: if it is no picture, or a share is not in 0..1; and see :meth:`set_vocabulary`.
        """
        return self._segment(image, classes, channel_order, Wishes(min_confidence, min_area, pixel_scores, scores))

    def _find(self, image: Any, *args: Any, **options: Any) -> Any:
        return self.segment(image, *args, **options)

    def _segment(
        self, image: Any, classes: Any, channel_order: ChannelOrder | None, wishes: Wishes, things: Any = None
    ) -> Any:
        pictures, several = pictures_of(image, channel_order)
        wanted = None if classes is None else Vocabulary.of(classes)
        with self._turn:
            words = self._words_of_call(wanted, things)
            samples = self._run(pictures, wishes.request(self.calibration, words.vocabulary))
        results = [self._result(s, words, p.rgb, p.source, wishes) for s, p in zip(samples, pictures, strict=True)]
        return results if several else results[0]

    def _result(self, sample: Any, words: Words, pixels: np.ndarray, source: Path | None, wishes: Wishes) -> Any:
        """A model's data sample for people."""
        del wishes  # the model has heeded them
        height, width = pixels.shape[:2]
        names = result_names(words.vocabulary)
        labels = sample.pred_sem_seg.data[0, :height, :width].to(label_dtype(len(names))).cpu().numpy()
        found = getattr(sample, 'word_scores', None)
        planes = getattr(sample, 'pixel_scores', None)
        strange = strangeness_of(sample, height, width)
        if strange is not None and self.unknown is not None:
            labels = without_unknown(labels, strange, self.unknown, len(words.vocabulary))
        return Segmentation(
            labels,
            words.vocabulary,
            words.palette,
            pixels,
            source,
            _deciders(sample, names),
            scores=None if found is None else found.scores.cpu().numpy(),
            score_kind=None if found is None else found.kind,
            left_out=_left_out(sample, names),
            pixel_scores=None if planes is None else planes.data[:, :height, :width].float().cpu().numpy(),
            evidence=None if found is None or found.evidence is None else found.evidence.cpu().numpy(),
            strangeness=strange,
            descriptions=sample.metainfo.get('descriptions', {}),
            **choice_of(sample, names),
        )

    def _run(self, pictures: Sequence[Picture], request: ScoreRequest | None) -> list[Any]:
        """The model's data samples for pictures, larger than they where a strip was extended; in the model's turn."""
        packed = [self._transforms(described(picture, self._limit)) for picture in pictures]
        words = getattr(self.model, 'vocabulary', self.vocabulary)
        kept = self._pixel_request(words)
        self.model.score_request, self.model.pixel_request = request, kept
        try:
            with torch.inference_mode():
                samples = run(packed, self._step, self.most_at_once)
                if request is not None:
                    for sample in samples:
                        score_sample(request, sample)
                self._add_descriptions(samples, words)
                return samples
        finally:
            self.model.score_request, self.model.pixel_request = None, PixelRequest()


def _make_palette(vocabulary: Vocabulary) -> np.ndarray:
    return palette_for(vocabulary.names, background=vocabulary.background != 'none')


def _left_out(sample: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Classes that took part and were left out, for their score or their area."""
    found, choice = getattr(sample, 'word_scores', None), getattr(sample, 'class_choice', None)
    if found is None:
        return ()
    left_out = found.left_out if choice is None else found.left_out & choice.kept
    return tuple(names[k] for k in left_out.nonzero()[:, 0].tolist())


def _deciders(sample: Any, names: tuple[str, ...]) -> dict[str, str]:
    """Which part of a two-stage model each class is owed to, from its masks; the best mask of a class counts."""
    found = getattr(sample, 'mask_classes', None)
    if found is None:
        return {}
    rising = found[found.scores.argsort()]
    rows = zip(rising.labels.tolist(), rising.decided_by.tolist(), strict=True)
    return {names[label]: DECIDERS[who] for label, who in rows}


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, if it can be used; CUDA where there is any, if none is.

    Raises:
        UserError: if there is no such device.
    """
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        place = torch.device(device)
        if place.type == 'cuda' and not torch.cuda.is_available():
            raise RuntimeError('no CUDA device is usable here')
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot use device '{device}': {reason}. Use --device cpu (device='cpu').") from error
    return place

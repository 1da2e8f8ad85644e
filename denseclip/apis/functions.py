"""One call for one picture, or several: ``denseclip.segment``, ``denseclip.detect``, ``denseclip.anomaly``.

Each keeps the model of its last call; threads may call them, each with words of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denseclip.apis.anomaly import AnomalyInferencer
from denseclip.apis.anomaly_result import AnomalyResult
from denseclip.apis.catalogue import find_card, is_config, one_of
from denseclip.apis.detection import Detections
from denseclip.apis.detector import Detector
from denseclip.apis.errors import UserError
from denseclip.apis.images import ChannelOrder, ImageLike
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.loading import ConfigLike, shared_model
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.precision import Precision
from denseclip.engine.compute import Layout

_NO_WORDS = 'something'


def segment(
    image: ImageLike,
    classes: Any = None,
    config: ConfigLike | None = None,
    weights: str | Path | None = None,
    device: str | None = None,
    preset: str | None = None,
    clip: str | None = None,
    pretrained: str | Path | None = None,
    channel_order: ChannelOrder | None = None,
    min_confidence: float | None = None,
    min_area: float | None = None,
    pixel_scores: bool = False,
    scores: bool = True,
    *,
    model: str | None = None,
    task: str | None = None,
    things: Sequence[str] | str | None = None,
    score: float | None = None,
    masks: str | None = None,
    stage: str | None = None,
    precision: Precision | None = None,
    layout: Layout | None = None,
    compile: bool | str | None = None,
    head: str | Path | None = None,
    unknown: float | None = None,
) -> Any:
    """Segment a picture, or several, by words.

    The model of the last call stays loaded; :func:`load_model` gives one to keep. Threads may call it, each with words
    of its own.

    Args:
        image: a file, bytes, a Pillow image, an array or a tensor (RGB), or a list of them, see
            :meth:`Inferencer.segment`; a folder or a pattern stands for the pictures in it.
        classes: words to look for, such as ``'temple; sky; trees'``; None uses the model's own vocabulary.
        config: config of the model; by default the bundled one.
        weights: its checkpoint.
        device: such as ``'cpu'``; by default CUDA where there is any.
        preset: a training-free method on a CLIP model instead of config and weights, such as ``'maskclip'``; the same
            as ``model``.
        clip: its CLIP model.
        pretrained: CLIP's weights.
        channel_order: ``'bgr'`` for arrays of OpenCV and mmcv.
        min_confidence: see :meth:`Inferencer.segment`, as the next three.
        min_area: see there.
        pixel_scores: see there.
        scores: see there.
        model: a name that :func:`list_models` shows.
        task: see :func:`load_model`.
        things: countable classes among ``classes``, for models with several tasks.
        score: see :func:`load_model`.
        masks: see there.
        stage: see there.
        precision: see there, as the next two.
        layout: see there.
        compile: see there.
        head: file of ``denseclip adapt``, see :meth:`Inferencer.use_head`; its classes are the default.
        unknown: see there.

    Returns:
        The result in the picture's own size, a :class:`Segmentation` unless ``task`` says otherwise; a list of results
        for several pictures.

    Raises:
        UserError: if the options do not go together, or classes are missing that the model does not bring.

    Example:
        >>> result = denseclip.segment('street.jpg', 'road; car=automobile,vehicle; sky')  # doctest: +SKIP
        >>> result.mask('car').mean()  # doctest: +SKIP
        >>> denseclip.segment('street.jpg', 'road; car; sky', model='sclip')  # doctest: +SKIP
    """
    name = one_of(preset=preset, model=model)
    options = dict(
        name=name,
        config=config,
        weights=weights,
        clip=clip,
        pretrained=pretrained,
        task=task,
        score=score,
        masks=masks,
        stage=stage,
        device=device,
        precision=precision,
        layout=layout,
        compile=compile,
        head=head,
        unknown=unknown,
    )
    if head is not None and classes is not None:
        options['words'] = Vocabulary.of(classes)  # a head is looked at with the words that it is for
    elif (_is_preset(name) or masks not in (None, 'model')) and classes is not None:
        options['words'] = _NO_WORDS  # these cannot be loaded without any; the call has its own
    if things is not None and task is None:
        options['task'] = 'semantic'  # a model that knows things
    found = shared_model(**options)
    if not isinstance(found, Inferencer):
        raise UserError(f'{type(found.model).__name__} segments nothing by words; use denseclip.{_function_of(found)}.')
    words = found.own_vocabulary if classes is None else classes
    wishes: dict[str, Any] = dict(
        min_confidence=min_confidence, min_area=min_area, pixel_scores=pixel_scores, scores=scores
    )
    if things is not None and isinstance(found, MaskInferencer):
        wishes['things'] = things
    return found(image, words, channel_order=channel_order, **wishes)


def detect(
    image: ImageLike,
    config: ConfigLike | None = None,
    weights: str | Path | None = None,
    device: str | None = None,
    score: float | None = None,
    channel_order: ChannelOrder | None = None,
    *,
    model: str | None = None,
    precision: Precision | None = None,
    layout: Layout | None = None,
    compile: bool | str | None = None,
) -> Detections:
    """Find objects in a picture, or in several.

    The model of the last call stays loaded; :func:`load_model` gives one to keep.

    Args:
        image: a file, bytes, a Pillow image, an array or a tensor (RGB), or a list of them; a folder or a pattern
            stands for the pictures in it.
        config: config of the model.
        weights: its checkpoint; by default the config's ``load_from``.
        device: such as ``'cpu'``; by default CUDA where there is any.
        score: the least confidence of an object, 0..1; by default 0.3.
        channel_order: ``'bgr'`` for arrays of OpenCV and mmcv.
        model: a name of a config instead of ``config``.
        precision: see :func:`load_model`, as the next two.
        layout: see there.
        compile: see there.

    Returns:
        What was found, surest first, in the picture's own pixels; a list of it for several pictures.

    Raises:
        UserError: if the model is no detector, or options do not go together.

    Example:
        >>> found = denseclip.detect('smear.jpg', 'bccd.py', 'bccd.safetensors')  # doctest: +SKIP
        >>> found.counts()  # doctest: +SKIP
    """
    name = one_of(config=config, model=model)
    if name is None:
        raise UserError('no model of this package finds objects by itself: give config and weights.')
    computing = dict(precision=precision, layout=layout, compile=compile)
    found = shared_model(name=name, weights=weights, device=device, **computing)
    if not isinstance(found, Detector):
        raise UserError(f'{type(found.model).__name__} finds no boxes; use denseclip.{_function_of(found)}.')
    return found(image, score, channel_order=channel_order)  # type: ignore[return-value]


def anomaly(
    image: ImageLike,
    object: str,
    domain: str | None = None,
    defects: str | Sequence[str] | None = None,
    *,
    model: str | None = None,
    config: ConfigLike | None = None,
    weights: str | Path | None = None,
    clip: str | None = None,
    pretrained: str | Path | None = None,
    device: str | None = None,
    precision: Precision | None = None,
    layout: Layout | None = None,
    compile: bool | str | None = None,
    channel_order: ChannelOrder | None = None,
) -> AnomalyResult:
    """Find defects in a picture, or in several, without any training picture.

    The model of the last call stays loaded; :func:`load_model` gives one to keep. Threads may call it, each with an
    object of its own.

    Args:
        image: A file, bytes, a Pillow image, an array or a tensor (RGB), or a list of them; a folder or a pattern
            stands for the pictures in it.
        object: What it shows, such as ``'metal nut'``.
        domain: See :meth:`AnomalyInferencer.set_object`.
        defects: See there.
        model: A name that :func:`list_models` shows; by default ``'anovl'``.
        config: Config of the model.
        weights: Its checkpoint, for methods that train.
        clip: Another CLIP, see :class:`AnomalyInferencer`.
        pretrained: CLIP's weights.
        device: Such as ``'cpu'``; by default CUDA where there is any.
        precision: See :func:`load_model`, as the next two.
        layout: See there.
        compile: See there.
        channel_order: ``'bgr'`` for arrays of OpenCV and mmcv.

    Returns:
        The result; a list of results for several pictures. Each is calibrated by itself.

    Example:
        >>> result = denseclip.anomaly('nut.png', 'metal nut', defects='scratch; dent')  # doctest: +SKIP
        >>> result.score, result.boxes()  # doctest: +SKIP
    """
    name = model if model is not None or config is not None else DEFAULT_ANOMALY
    options = dict(weights=weights, clip=clip, pretrained=pretrained, device=device)
    computing = dict(precision=precision, layout=layout, compile=compile)
    found = shared_model(name=name, config=config, **options, **computing)
    if not isinstance(found, AnomalyInferencer):
        raise UserError(f'{type(found.model).__name__} is no anomaly model; use denseclip.{_function_of(found)}.')
    return found(image, object, domain, defects, channel_order=channel_order)  # type: ignore[return-value]


DEFAULT_ANOMALY = 'anovl'


def localize_anomalies(
    image: ImageLike,
    object: str,
    domain: str | None = None,
    defects: str | Sequence[str] | None = None,
    config: str | Path | None = None,
    clip: str | None = None,
    weights: str | Path | None = None,
    device: str | None = None,
    channel_order: ChannelOrder | None = None,
) -> AnomalyResult:
    """The former name of :func:`anomaly`; ``weights`` are CLIP's."""
    warnings.warn(
        'localize_anomalies is called anomaly now, its weights (of CLIP) pretrained; the former names go with the next '
        'release.',
        FutureWarning,
        stacklevel=2,
    )
    options = dict(config=config, clip=clip, pretrained=weights, device=device, channel_order=channel_order)
    return anomaly(image, object, domain, defects, **options)  # type: ignore[arg-type]


def _is_preset(name: Any) -> bool:
    return isinstance(name, str) and not is_config(name) and find_card(name).kind == 'preset'


def _function_of(model: Any) -> str:
    return {'instance': 'detect', 'anomaly': 'anomaly'}.get(model.task, 'segment')

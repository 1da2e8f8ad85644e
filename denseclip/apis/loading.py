"""Models by name, preset, method or config: the one way in which commands and Python load them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from mmengine.config import Config

from denseclip.apis.anomaly import AnomalyInferencer
from denseclip.apis.catalogue import ModelCard, find_card, is_config, is_shared
from denseclip.apis.config import inference_config
from denseclip.apis.detector import Detector
from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.mask_inferencer import DEFAULT_SCORE, MaskInferencer
from denseclip.apis.methods import SEGMENTATION_TASKS, methods_for
from denseclip.apis.pixel_heads import check_unknown, given_head
from denseclip.apis.plug_ins import plug_ins
from denseclip.apis.predictor import Predictor
from denseclip.apis.presets import DEFAULT_CLIP, check_name
from denseclip.apis.turns import keep_last
from denseclip.apis.two_stage import ovseg_inferencer
from denseclip.apis.zoo import default_target, find_model, ours
from denseclip.compat.logs import without_advice
from denseclip.core.precision import Precision
from denseclip.core.words import TakesWords
from denseclip.engine.compute import Compute, Layout
from denseclip.engine.model_class import model_class
from denseclip.models.pixel_head_file import AnyPixelHead

ConfigLike: TypeAlias = str | Path | Config | Mapping[str, Any]
_QUERY_OPTIONS = ('task', 'things', 'score')
_CLIP_OPTIONS = ('clip', 'pretrained')
_MASK_OPTIONS = ('masks', 'stage')
CONFIG_HAS_CLIP = (
    '--clip and --pretrained (clip=, pretrained=) go with --preset, --method ovseg and anomaly models: leave them out, '
    'the config says which CLIP it takes.'
)


@dataclass(frozen=True)
class _Order:
    """What a caller of :func:`load_model` wants."""

    config: Any = None
    weights: str | Path | None = None
    clip: str | None = None
    pretrained: str | Path | None = None
    words: Any = None
    things: Any = None
    task: str | None = None
    score: float | None = None
    masks: str | None = None
    stage: str | None = None
    device: Any = None
    trust: bool = False
    dino: str | None = None

    def refuse(self, options: Sequence[str], sentence: str) -> None:
        """Refuse options that do not go with the model."""
        if any(getattr(self, option) is not None for option in options):
            raise UserError(sentence)


def load_model(
    name: ConfigLike | None = None,
    *,
    config: ConfigLike | None = None,
    weights: str | Path | None = None,
    clip: str | None = None,
    pretrained: str | Path | None = None,
    words: Any = None,
    things: Sequence[str] | str | None = None,
    task: str | None = None,
    score: float | None = None,
    masks: str | None = None,
    stage: str | None = None,
    device: str | torch.device | None = None,
    precision: Precision = 'fp32',
    layout: Layout = 'auto',
    compile: bool | str = False,
    trust: bool = False,
    dino: str | None = None,
    head: AnyPixelHead | str | Path | None = None,
    unknown: float | None = None,
    **settings: Any,
) -> Predictor:
    """Load a model of any kind.

    Args:
        name: A name that :func:`list_models` shows, a config (a file, or one in memory), or a model that
            ``save_pretrained()`` wrote (a folder, ``hf-hub:org/name``); None: the bundled model.
        config: The config of a method in place of its own. Without a name: the model's config.
        weights: The model's checkpoint: a file of this suite, of MMEngine or of the authors, or another source that
            ``denseclip.weights.resolve`` knows.
        clip: CLIP of a preset, of OVSeg with masks from elsewhere, or of an anomaly model: an open_clip architecture,
            ``hf-hub:NAME`` or ``local-dir:FOLDER``.
        pretrained: CLIP's weights: a tag of open_clip or a file.
        words: Classes, in any form that ``Vocabulary.of`` knows; None: the model's own. For anomaly models what
            pictures show, such as ``'metal nut'``.
        things: Countable classes, see ``denseclip.clip.things``; for panoptic and instance results.
        task: ``'semantic'`` (default), ``'panoptic'`` or ``'instance'``, for models that give several.
        score: Least confidence of an instance, 0..1.
        masks: Where OVSeg's masks, or the regions of a preset that takes some, come from: ``'model'``,
            ``'superpixels'``, ``'sam:FILE'`` (or ``sam:FOLDER``) or a folder.
        stage: Which stage of OVSeg decides: ``'both'``, ``'first'`` or ``'second'``.
        device: Such as ``'cpu'`` or ``'cuda:0'``; by default CUDA where there is any.
        precision: ``'fp32'``; ``'bf16'``; ``'fp16'`` (GPUs); or ``'int8-dynamic'`` (transformers on CPUs).
        layout: Memory layout of convolutions: ``'auto'``, ``'contiguous'`` or ``'channels_last'``.
        compile: Make graphs of blocks, layers and heads by ``torch.compile``, which takes a minute or more at the first
            picture; a string names its backend.
        trust: Allow weights in a pickle that runs code while it is read.
        dino: Self-supervised network of a preset that takes one: a file of weights, ``ARCHITECTURE=FILE`` (a name of
            timm), or ``local-dir:FOLDER``.
        head: A head of ``denseclip adapt`` for this model, or its file; without ``words`` it brings its own.
        unknown: See :meth:`Inferencer.use_head`.
        **settings: Further arguments of a preset's segmentor or of OVSeg's (``affinity``, ``selection`` ...).

    Returns:
        An :class:`Inferencer`, a :class:`MaskInferencer` (several tasks), a :class:`Detector` or an
        :class:`AnomalyInferencer`; call it with pictures.

    Raises:
        UserError: If there is no such model, something is missing, or options do not go together.
        WeightFileError: If weights cannot be read.
        WeightMismatchError: If they belong to another model.

    Example:
        >>> model = load_model('naclip', words='road; car; sky')  # doctest: +SKIP
        >>> model('street.jpg').save('out')  # doctest: +SKIP
    """
    try:
        compute = Compute(precision, layout, compile)
    except ValueError as error:
        raise UserError(str(error)) from error
    if score is not None and not 0 <= score <= 1:
        raise UserError(f'the least score (--score, score=) is {score:g}; it must be between 0 and 1.')
    found, name_of_head = (None, '') if head is None else given_head(head)
    check_unknown(unknown, found)
    if found is not None and words is None:
        words = found.vocabulary
    order = _Order(config, weights, clip, pretrained, words, things, task, score, masks, stage, device, trust, dino)
    with without_advice():
        model = _load(name, order, settings)
        if found is not None:
            _give_head(model, found, name_of_head, unknown)
    if compute != Compute():
        try:
            model.use(compute)
        except ValueError as error:
            raise UserError(str(error)) from error
    return model


def _give_head(model: Predictor, head: AnyPixelHead, name: str, unknown: float | None) -> None:
    if not isinstance(model, Inferencer):
        raise UserError(f'{type(model.model).__name__} labels no pixels by words: leave --head (head=) out.')
    model.take_head(head, name, unknown)


def _load(name: ConfigLike | None, order: _Order, settings: dict[str, Any]) -> Predictor:
    if isinstance(name, str | Path) and is_shared(name):
        return _shared_folder(name, order, settings)
    if name is not None and (not isinstance(name, str) or is_config(name)):
        if order.config is not None:
            raise UserError('two configs are named: leave one of them out.')
        name, order = None, replace(order, config=name)
    card = None if name is None else find_card(name)
    if card is None or card.kind != 'preset':
        order.refuse(('dino',), '--dino (dino=) goes with presets such as proxyclip: leave it out.')
    if card is not None:
        return _by_card(card, order, settings)
    if settings:
        raise UserError(f'{", ".join(settings)} go with a preset or with ovseg; name one, or leave them out.')
    return _default(order) if order.config is None else _by_config(order)


def _shared_folder(name: str | Path, order: _Order, settings: dict[str, Any]) -> Predictor:
    """A model that was saved as a whole; it has config and weights of its own."""
    from denseclip.apis.pretrained import from_pretrained

    order.refuse(
        ('config', 'weights', 'dino', *_CLIP_OPTIONS, *_MASK_OPTIONS), f"'{name}' is a whole model: leave {_WHOLE} out."
    )
    if settings:
        raise UserError(f"'{name}' takes no {', '.join(settings)}: these go with a preset or with ovseg.")
    options = {key: getattr(order, key) for key in ('words', *_QUERY_OPTIONS, 'device')}
    return from_pretrained(name, **{key: value for key, value in options.items() if value is not None})


_WHOLE = '--config, --weights, --clip, --pretrained, --dino, --masks and --stage (config=, weights= ...)'


def _default(order: _Order) -> Inferencer:
    """The bundled model."""
    order.refuse(
        _CLIP_OPTIONS,
        '--clip and --pretrained (clip=, pretrained=) go with a preset or with ovseg: name one, such as maskclip '
        '(--model, --preset), or leave them out.',
    )
    order.refuse(
        _QUERY_OPTIONS,
        '--task, --things and --score (task= ...) go with query-based models: name one with --method '
        f'({", ".join(methods_for("panoptic"))}) or --config, or leave them out.',
    )
    order.refuse(_MASK_OPTIONS, _ONLY_OVSEG)
    return Inferencer(None, order.weights, order.device, order.words, trust=order.trust)


_ONLY_OVSEG = 'a source of masks or a stage (--masks, --stage) goes with --method ovseg; leave it out.'


def _by_card(card: ModelCard, order: _Order, settings: dict[str, Any]) -> Predictor:
    if card.kind == 'preset':
        return _preset(card.name, order, settings)
    if card.name == 'ovseg':
        return _ovseg(order, settings)
    if settings:
        raise UserError(f"'{card.name}' takes no {', '.join(settings)}: these go with a preset or with ovseg.")
    order.refuse(_MASK_OPTIONS, _ONLY_OVSEG)
    if card.kind == 'zoo':
        if order.config is not None:
            raise UserError(f"'{card.name}' has a config of its own: leave --config (config=) out.")
        order = replace(order, weights=order.weights or _zoo_weights(card))
    if card.kind == 'method' and 'anomaly' not in card.tasks:
        order.refuse(
            _CLIP_OPTIONS,
            f'{card.name} has a CLIP in its checkpoint: leave --clip and --pretrained (clip=, pretrained=) out.',
        )
    if order.weights is None and order.config is None and 'weights' in card.needs:
        raise UserError(_wants_weights(card))
    assert card.config is not None
    return _by_config(replace(order, config=order.config or ours(card.config)))


def _zoo_weights(card: ModelCard) -> Path | None:
    """Weights that came with the package, or that ``denseclip download`` has put where it puts them."""
    if card.weights is not None:
        return ours(card.weights)
    fetched = default_target(find_model(card.name))
    return fetched if fetched.is_file() else None


def _wants_weights(card: ModelCard) -> str:
    path = Path(card.config or '')
    place = f'{ours(f"{path.parent.as_posix()}/README.md")} says where it comes from'
    if card.url is not None:
        place = f'`denseclip download {card.name}` fetches it from {card.url}'
    return f"'{card.name}' needs the weights of {path.name}: give its checkpoint with --weights (weights=): {place}."


def _preset(name: str, order: _Order, settings: dict[str, Any]) -> Inferencer:
    check_name(name)
    order.refuse(
        ('config', 'weights'), f'preset {name} is a model of its own: leave --config and --weights (weights=) out.'
    )
    order.refuse(_QUERY_OPTIONS[1:], f'preset {name} gives semantic results only: leave --things and --score out.')
    if order.task not in (None, 'semantic'):
        raise UserError(f'preset {name} gives semantic results only: leave --task (task=) out.')
    settings = {**plug_ins(name, order.dino, order.masks, order.trust), **settings}
    order.refuse(('stage',), _ONLY_OVSEG)
    if order.words is None:
        raise UserError(f'preset {name} brings no classes; give --classes or --classes-file (words=).')
    clip = order.clip or DEFAULT_CLIP
    return Inferencer.from_preset(
        name, order.words, clip, order.pretrained, order.device, trust=order.trust, **settings
    )


def _ovseg(order: _Order, settings: dict[str, Any]) -> Inferencer:
    if order.task not in (None, 'semantic') or order.things is not None or order.score is not None:
        raise UserError('OVSeg gives semantic results only: leave --task, --things and --score out.')
    return ovseg_inferencer(
        order.words,
        config=order.config,
        weights=order.weights,
        masks=order.masks or 'model',
        stages=order.stage,
        clip=order.clip,
        pretrained=order.pretrained,
        device=order.device,
        trust=order.trust,
        **settings,
    )


def _by_config(order: _Order) -> Predictor:
    """The model of a config; its class says of what kind it is."""
    order.refuse(_MASK_OPTIONS, _ONLY_OVSEG)
    cfg = inference_config(order.config)
    kind = model_class(cfg, 'mmseg')
    if hasattr(kind, 'set_object'):
        return _anomaly(cfg, order)
    order.refuse(
        _CLIP_OPTIONS,
        CONFIG_HAS_CLIP,
    )
    if hasattr(kind, 'with_bbox'):
        return _detector(cfg, order)
    asked = any(getattr(order, option) is not None for option in _QUERY_OPTIONS)
    several = isinstance(kind, type) and issubclass(kind, TakesWords) and kind.set_task is not TakesWords.set_task
    if not (several or asked):
        return Inferencer(cfg, order.weights, order.device, order.words, trust=order.trust)
    if order.task not in (None, *SEGMENTATION_TASKS):
        raise UserError(f"no task is called '{order.task}'; there are {', '.join(SEGMENTATION_TASKS)}.")
    return MaskInferencer(
        cfg,
        order.weights,
        order.device,
        order.words,
        trust=order.trust,
        task=order.task or 'semantic',
        things=order.things,
        score=DEFAULT_SCORE if order.score is None else order.score,
    )


def _detector(cfg: Config, order: _Order) -> Detector:
    order.refuse(('words', 'things'), 'a detector tells apart the classes of its training: leave the words out.')
    if order.task not in (None, 'instance'):
        raise UserError(f'a detector finds objects: leave --task {order.task} (task=) out.')
    return Detector(cfg, order.weights, order.device, trust=order.trust, score=order.score)


def _anomaly(cfg: Config, order: _Order) -> AnomalyInferencer:
    order.refuse(_QUERY_OPTIONS[1:], 'an anomaly model has no things and no least score: leave them out.')
    if order.task not in (None, 'anomaly'):
        raise UserError(f'this model finds anomalies: leave --task {order.task} (task=) out.')
    model = AnomalyInferencer(
        cfg, order.weights, order.device, clip=order.clip, pretrained=order.pretrained, trust=order.trust
    )
    if order.words is not None:
        model.set_object(order.words)
    return model


@keep_last
def _shared(*options: tuple[str, Any]) -> Predictor:
    return load_model(**dict(options))


def shared_model(**options: Any) -> Predictor:
    """The model that :func:`load_model` would load; that of the last call stays loaded.

    Args:
        **options: Arguments of :func:`load_model`; those that are None do not count.
    """
    given = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    return _shared(*sorted((key, value) for key, value in given.items() if value is not None))


def forget_shared_model() -> None:
    """Give back the memory of the model that :func:`shared_model` keeps."""
    _shared.cache_clear()

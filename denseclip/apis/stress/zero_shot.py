"""Models of configs that bring all their weights, which need neither a training nor a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from denseclip.apis.config import inference_config, inference_steps
from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer, choose_device
from denseclip.apis.loading import CONFIG_HAS_CLIP
from denseclip.apis.presets import lacks
from denseclip.clip.presets import PRESETS
from denseclip.core.lazy_weights import LazyWeights
from denseclip.core.precision import Precision
from denseclip.engine.compute import Compute, Layout
from denseclip.engine.model_class import model_class
from denseclip.models.builder import with_own_settings
from denseclip.models.clip_weights import spec_of


def require_extras(config: Config, weights: Any) -> None:
    """Refuse a config whose preset would run on weights of chance.

    Args:
        config: A config.
        weights: Its checkpoint, if there is one.

    Raises:
        UserError: If the preset needs weights besides CLIP's that neither the config nor the checkpoint brings.
    """
    clip = config.get('model', {}).get('clip')
    name = clip.get('preset') if isinstance(clip, Mapping) else None
    if not isinstance(name, str) or name not in PRESETS or not PRESETS[name].needs:
        return
    usual = PRESETS[name].model.get('affinity')
    if usual is None:
        if weights is None:
            raise lacks(name, 'give them with --weights (weights=)')
        return
    if PRESETS[name].regions and config.model.get('regions') is None:
        raise lacks(name, 'name regions with --cfg-options model.regions.type=... (overrides=)')
    usual_sam = PRESETS[name].model.get('sam')
    sam = with_own_settings(usual_sam, config.model.get('sam'))
    if usual_sam and sam['type'] == usual_sam['type'] and not (sam.get('source') or sam.get('pretrained')):
        raise lacks(name, 'name Segment Anything with --cfg-options model.sam.source=FOLDER (overrides=)')
    affinity = with_own_settings(usual, config.model.get('affinity'))  # its weights are in no checkpoint
    if affinity['type'] == usual['type'] and not (affinity.get('dino') or {}).get('pretrained'):
        raise lacks(name, 'name them with --cfg-options model.affinity.dino.pretrained=FILE (overrides=)')


def zero_shot_model(
    config: Config,
    *,
    device: Any = None,
    precision: Precision = 'fp32',
    layout: Layout = 'auto',
    compile: bool | str = False,
    trust: bool = False,
    **others: Any,
) -> Inferencer:
    """The model of a config that brings all its weights.

    Args:
        config: The config; with ``trust`` its sources of weights are marked as trusted.
        device: See :func:`denseclip.apis.load_model`, as the next four.
        precision: Of computing.
        layout: Of convolutions.
        compile: Make graphs.
        trust: Read weights even if that runs code.
        **others: Further arguments of ``load_model``; those that are not None are refused.

    Raises:
        UserError: If an option does not go with it, it labels no pixels, or weights come from nowhere.
    """
    given = [name for name, value in others.items() if value is not None]
    if {'clip', 'pretrained'} & set(given):
        raise UserError(CONFIG_HAS_CLIP)
    if given:
        raise UserError(f'{", ".join(given)} do not go with a config that brings all its weights: leave them out.')
    try:
        compute = Compute(precision, layout, compile)
    except ValueError as error:
        raise UserError(str(error)) from error
    config = inference_config(config)
    kind = model_class(config, 'mmseg')
    if hasattr(kind, 'set_object') or hasattr(kind, 'with_bbox'):
        raise UserError(f'{kind.__name__} labels no pixels by classes: stress needs a segmentor.')
    if trust:
        _trust(config)
    model = MODELS.build(config.model)
    if fresh := _fresh(model):
        raise UserError(
            f'nothing brings weights for {len(fresh)} tensors of the model ({", ".join(fresh[:3])} ...): give its '
            'checkpoint with --weights (weights=), or name their source in the config.'
        )
    found = Inferencer.from_model(model.to(choose_device(device)), inference_steps(config))
    if compute != Compute():
        try:
            found.use(compute)
        except ValueError as error:
            raise UserError(str(error)) from error
    return found


def _trust(config: Config) -> None:
    """Mark the weights that a config names as trusted."""
    clip, affinity = config.model.get('clip'), config.model.get('affinity')
    if isinstance(clip, dict) and clip.get('pretrained') is not None:
        clip['pretrained'] = {**spec_of(clip['pretrained']), 'trust': True}
    if isinstance(affinity, dict) and isinstance(affinity.get('dino'), dict):
        affinity['dino']['trust'] = True


def _fresh(model: nn.Module) -> list[str]:
    """Parameters that nothing brings: those of a lazy module without a source, and those that wait for a training."""
    nowhere: set[int] = set()
    brought: set[int] = set()
    for module in model.modules():
        if isinstance(module, LazyWeights):
            # A lazy module of which nobody said where to read it has `pretrained=None`.
            known = (module.has_source or module.has_weights) and getattr(module, 'pretrained', '') is not None
            prefixes = module.sourced_prefixes or ('',)
            held = {id(value) for name, value in module.named_parameters() if name.startswith(prefixes)}
            (brought if known else nowhere).update(held)
    return [
        name
        for name, value in model.named_parameters()
        if id(value) not in brought and (value.requires_grad or id(value) in nowhere)
    ]

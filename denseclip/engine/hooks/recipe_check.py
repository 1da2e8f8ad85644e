"""Does the run follow the recipe that its config was written for?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from denseclip.core.lazy_weights import warn_of_other_normalization

from .vocabulary_check import unwrap_model


@HOOKS.register_module()
class RecipeCheckHook(Hook):
    """Warn, before the first iteration, of silent departures from a published recipe.

    * **Normalisation.** A data preprocessor of MMSegmentation or MMDetection before a CLIP backbone must normalise as
      the weights were trained; this is also looked at before a test.

    * **Batch size.** Learning rates belong to a total batch; see :func:`batch_size_note`.
    * **Parameters at learning rate 0 that move.** The DenseCLIP recipe gives the text encoder ``lr_mult=0``, and the
      paper calls it frozen. It is not: a polynomial schedule computes ``(lr - eta_min) * decay + eta_min``, which
      lifts a rate of 0 to ``eta_min``, and AdamW then moves those weights, as the authors' released weights show.
      The paper's intent is ``requires_grad=False`` (``text_encoder=dict(frozen=True)``, our default; gradients still
      flow *through* the encoder to the learnable contexts). The authors' behaviour is ``frozen=False`` with the same
      recipe, exactly so under :class:`denseclip.engine.schedulers.WarmupPolyLR` (1.7e-8 at iteration 1499);
      MMEngine's LinearLR + PolyLR rises faster (1.3e-7 there). Step schedules, as in detection, keep 0 at 0.
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        """Check and warn."""
        groups = getattr(getattr(runner.optim_wrapper, 'optimizer', None), 'param_groups', [])
        schedules = runner.param_schedulers if isinstance(runner.param_schedulers, list) else []
        floor = max((getattr(schedule, 'eta_min', None) or 0.0 for schedule in schedules), default=0.0)
        notes = [
            batch_size_note(runner.cfg, runner.world_size),
            drift_note(unwrap_model(runner.model), groups, floor),
        ]
        for note in filter(None, notes):
            runner.logger.warning(note)
        self._check_host(runner)

    def before_test(self, runner: Runner) -> None:
        """Look at the normalisation."""
        self._check_host(runner)

    @staticmethod
    def _check_host(runner: Runner) -> None:
        model = unwrap_model(runner.model)
        if not type(model).__module__.startswith('denseclip.'):  # models of the suite look at it when they are built
            warn_of_other_normalization(model, getattr(getattr(model, 'backbone', None), 'preprocess', None))


def batch_size_note(config: Mapping[str, Any], world_size: int) -> str | None:
    """Compare the run's effective batch with the one that the config's learning rates are made for.

    Args:
        config: The config; ``auto_scale_lr.base_batch_size`` is the recipe's batch over all processes.
        world_size: Number of processes.

    Returns:
        A warning that names the factor; ``None`` if they agree, or the config does not say.
    """
    recipe = config.get('auto_scale_lr') or {}
    base = recipe.get('base_batch_size')
    loader = config.get('train_dataloader') or {}
    per_process = loader.get('batch_size') or (loader.get('batch_sampler') or {}).get('batch_size')
    if not base or not per_process:
        return None
    accumulate = config['optim_wrapper'].get('accumulative_counts', 1)
    actual = world_size * per_process * accumulate
    used = world_size * per_process / base  # MMEngine's factor; it does not count accumulation
    scaled = recipe.get('enable', False)
    if actual == base and not (scaled and used != 1):
        return None
    parts = f'{world_size} process(es) x {per_process}' + (f' x {accumulate} accumulated' if accumulate > 1 else '')
    has = f'the recipe is for a batch of {base}, this run has {actual} ({parts})'
    if scaled:
        uncounted = (
            f'; accumulation is not counted, with it the factor would be {actual / base:g}' if accumulate > 1 else ''
        )
        return f'{has}: auto_scale_lr multiplies all learning rates by {used:g}{uncounted}.'
    cure = (
        f'Multiply them by {actual / base:g} (--auto-scale-lr would take {used:g}, it does not count accumulation)'
        if accumulate > 1
        else f'Pass --auto-scale-lr to multiply them by {used:g}'
    )
    return (
        f'{has}: published numbers will not be reached with these learning rates. {cure}, or change '
        'train_dataloader.batch_size.'
    )


def drift_note(model: nn.Module, groups: Iterable[Mapping[str, Any]], floor: float) -> str | None:
    """Name trainable parameters whose base learning rate is 0 under a schedule with a floor above 0.

    Args:
        model: The model, for the names.
        groups: The optimizer's parameter groups, with ``initial_lr`` where a schedule has been built.
        floor: The schedule's ``eta_min``.

    Returns:
        A warning, or ``None`` if nothing drifts.
    """
    resting = {
        id(parameter)
        for group in groups
        if group.get('initial_lr', group['lr']) == 0
        for parameter in group['params']
        if parameter.requires_grad
    }
    names = [name for name, parameter in model.named_parameters() if id(parameter) in resting]
    if not names or floor <= 0:
        return None
    return (
        f'{len(names)} tensors have learning rate 0 ({names[0]} ...), but the schedule lifts it to eta_min={floor:g}: '
        'they will move. Freeze them (requires_grad=False; for text_encoder: frozen=True) unless the original drift is '
        'wanted.'
    )

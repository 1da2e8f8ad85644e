"""The part of the training state that MMEngine's checkpoints lack: random generators and buffers of every process."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from ..checkpoints import drop_config_text
from ..config import OptionError
from ..rng import RngState, capture_rng_state, restore_rng_state
from .vocabulary_check import unwrap_model

# Not 'val...': the log processor prints every entry of the hub that begins with the name of a stage.
_VALIDATED = 'last_validation'


def last_validated(runner: Runner) -> int | None:
    """The iteration of the last finished validation; ``None`` if the run does not keep account of it."""
    return runner.message_hub.get_info(_VALIDATED)


@HOOKS.register_module()
class TrainingStateHook(Hook):
    """Save and restore all random states, and keep validation from touching them.

    * Before a checkpoint is written, ``SafeCheckpointHook`` calls :meth:`before_checkpoint` on every process; the
      gathered states travel in ``checkpoint['training_state']``.
    * Buffers that are not the same in all processes travel beside them: batch norms without synchronisation, whose
      statistics decide what each process predicts in validation.
    * On resume they are restored at the very point of the loop where they were read: before the next epoch's hooks if
      the checkpoint closes an epoch, before the next iteration's hooks otherwise.
    * Validation runs on a copy of the random states: how often a run is validated does not change what it learns.
    * Text of a config inside the checkpoint is dropped before anything could execute it (``Runner.resume`` would).
    """

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._gathered: dict[str, Any] | None = None
        self._to_restore: dict[str, Any] | None = None
        self._outside_validation: RngState | None = None

    def before_checkpoint(self, runner: Runner, stage: str) -> None:
        """Gather the states of all processes; to be called on all of them.

        Args:
            runner: The runner.
            stage: ``'epoch'`` if the checkpoint closes an epoch, ``'iter'`` otherwise.
        """
        wrapper = runner.optim_wrapper
        if isinstance(wrapper, OptimWrapper) and not wrapper.should_update():
            runner.logger.warning(
                'this checkpoint lies between two steps of the optimizer, whose gradients are not in it: a resume is '
                'valid, but not bit-exact. Make the checkpoint interval a multiple of accumulative_counts.'
            )
        self._gathered = {'stage': stage, 'rng': all_gather_object(capture_rng_state())}
        if runner.world_size > 1:
            self._gathered['buffers'] = _own_buffers(unwrap_model(runner.model))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Put the gathered states into the checkpoint."""
        if self._gathered is None and runner.world_size == 1:
            # A plain CheckpointHook does not announce its saves; one process needs no gathering.
            self._gathered = {'stage': 'iter', 'rng': [capture_rng_state()]}
        if self._gathered is not None:
            checkpoint['training_state'], self._gathered = self._gathered, None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Remember the states for the first resumed step, and drop config text."""
        if drop_config_text(checkpoint):
            runner.logger.warning(
                "the checkpoint carries a config under meta['config']; it is ignored, because reading it would run it"
            )
        self._to_restore = checkpoint.get('training_state')

    def before_train(self, runner: Runner) -> None:
        """Start the account of validations; warn when the states cannot be restored.

        Raises:
            OptionError: Processes begin at different places: machines with disks of their own have other checkpoints.
        """
        places = all_gather_object((runner.epoch, runner.iter))
        if len(set(places)) > 1:
            told = ', '.join(f'process {rank} at iteration {place[1]}' for rank, place in enumerate(places))
            raise OptionError(
                f'the processes begin at different places ({told}): --resume takes the last checkpoint of the work '
                'directory, which not all of them see. Put the work directory on a shared disk, or copy the checkpoint '
                'to every machine and name it (--resume PATH).'
            )
        if last_validated(runner) is None:
            runner.message_hub.update_info(_VALIDATED, 0 if runner.iter == 0 else runner.iter)
        if runner.iter == 0:
            self._to_restore = None  # weights were loaded as a start, not to resume
            return
        if self._to_restore is None:
            runner.logger.warning('the checkpoint holds no random states: the resumed run is valid, but not bit-exact')
        elif len(self._to_restore['rng']) != runner.world_size:
            saved = len(self._to_restore['rng'])
            runner.logger.warning(
                f'the checkpoint was written by {saved} process(es), this run has {runner.world_size}: the random '
                'states are not restored, the resumed run is valid, but not bit-exact'
            )
            self._to_restore = None
        elif runner.rank < len(self._to_restore.get('buffers', [])):
            unwrap_model(runner.model).load_state_dict(self._to_restore['buffers'][runner.rank], strict=False)

    def before_train_epoch(self, runner: Runner) -> None:
        """Restore after a checkpoint that closed an epoch."""
        if self._to_restore is not None and self._to_restore['stage'] == 'epoch':
            self._restore(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Restore after a checkpoint that closed an iteration."""
        if self._to_restore is not None:
            self._restore(runner)

    def before_val(self, runner: Runner) -> None:
        """Set the training's random states aside."""
        self._outside_validation = capture_rng_state()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Note that this iteration is validated, before the checkpoint hook saves the best weights."""
        runner.message_hub.update_info(_VALIDATED, runner.iter)
        if self._outside_validation is not None:
            restore_rng_state(self._outside_validation)

    def after_val(self, runner: Runner) -> None:
        """Take the training's random states up again."""
        if self._outside_validation is not None:
            restore_rng_state(self._outside_validation)
            self._outside_validation = None

    def _restore(self, runner: Runner) -> None:
        assert self._to_restore is not None
        restore_rng_state(self._to_restore['rng'][runner.rank])
        self._to_restore = None


def _own_buffers(model: nn.Module) -> list[dict[str, Tensor]]:
    """Buffers that differ between processes, for each of them; those of the first are in the weights already."""
    saved = model.state_dict().keys()
    buffers = {name: buffer.detach().cpu() for name, buffer in model.named_buffers() if name in saved}
    every = all_gather_object({name: _digest(buffer) for name, buffer in buffers.items()})
    differing = [name for name in buffers if len({other.get(name) for other in every}) > 1]
    return [{}, *all_gather_object({name: buffers[name].clone() for name in differing})[1:]]


def _digest(buffer: Tensor) -> str:
    flat = buffer.contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(flat.numpy().tobytes()).hexdigest()

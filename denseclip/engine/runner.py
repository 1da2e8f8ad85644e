"""MMEngine's Runner with one loader for every kind of checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from ..compat.distributed import FULLY_SHARD, has_accelerator
from ..compat.logs import shorten, use_plain_words
from .checkpoints import ReviseKeys, load_weights, read_training_file
from .config import OptionError
from .data.samples import explained, name_samples
from .hooks.sharded_caches import ShardedCachesHook
from .hooks.vocabulary_check import unwrap_model
from .sharding import is_sharded, shard, take_whole_states, whole_states

_PLAIN_WRAPPER = 'MMDistributedDataParallel'


@RUNNERS.register_module()
class SuiteRunner(Runner):
    """``Runner`` that reads checkpoints through :mod:`denseclip.weights`.

    safetensors files, MMEngine's checkpoints and the authors' files are told apart by content; a pickle that would
    run code is refused unless :attr:`trust` is set. Tests and resumes are strict: a name that is missing or unexpected
    fails with its name. Only ``load_from`` before a training is lenient, as fine-tuning needs, and says what it left.
    """

    trust = False
    """Allow pickles that run code while they are read; set between building and starting."""
    strict = False
    """Require that names and shapes agree; set by ``test`` and ``resume``."""

    def set_randomness(self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False) -> None:
        """Set the seed; ``deterministic`` names what has no deterministic form on a GPU, and does not stop there.

        Counting of areas and the gradients of point losses would end a run otherwise.

        Args:
            seed: See :meth:`mmengine.runner.Runner.set_randomness`.
            diff_rank_seed: See there.
            deterministic: See there.
        """
        super().set_randomness(seed, diff_rank_seed, deterministic)
        if deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The log: whole in the file, without config and environment on the terminal unless the config has ``verbose``.

        Args:
            *args: See :meth:`mmengine.runner.Runner.build_logger`.
            **kwargs: The same.
        """
        logger = super().build_logger(*args, **kwargs)
        use_plain_words(logger)
        if not self.cfg.get('verbose', False):
            shorten(logger)
            files = [h.baseFilename for h in logger.handlers if isinstance(h, logging.FileHandler)]
            logger.info(f'config, environment and all messages: {files[0]}' if files else 'there is no log file')
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap the model for several processes, unless nothing in it is trained.

        ``DistributedDataParallel`` refuses a model without parameters to train, and a training-free method has no
        gradients to share: its processes just test their part of the data. That goes for MMEngine's plain wrapper,
        which :func:`denseclip.compat.distributed.prepare` asks for on CPUs, and not for wrappers of other types.
        """
        wrapper = (model_wrapper_cfg or {}).get('type', _PLAIN_WRAPPER)
        if model_wrapper_cfg and is_distributed() and not has_accelerator():
            model = revert_sync_batchnorm(model)  # also those that no config names
        if wrapper == FULLY_SHARD and is_distributed():
            self.model = model
            super()._init_model_weights()  # whole: what draws numbers, or reads files, would make other parts
            return shard(model, regions=(model_wrapper_cfg or {}).get('regions', True))
        if wrapper in (_PLAIN_WRAPPER, FULLY_SHARD) and not any(p.requires_grad for p in model.parameters()):
            return model.to(get_device())
        return super().wrap_model(None if wrapper == FULLY_SHARD else model_wrapper_cfg, model)

    def _init_model_weights(self) -> None:
        if not is_sharded(self.model):
            super()._init_model_weights()

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimizer, of a sharded model one that knows its parts.

        Args:
            optim_wrapper: See :meth:`mmengine.runner.Runner.build_optim_wrapper`.

        Raises:
            OptionError: The run has what does not go with a sharded model.
        """
        built = super().build_optim_wrapper(optim_wrapper)
        if is_sharded(self.model) and built is not optim_wrapper:
            self._require_shardable(built)
            take_whole_states(built)
            self.register_hook(ShardedCachesHook())
        return built

    def _require_shardable(self, optim_wrapper: Any) -> None:
        """Refuse what copies or scales a whole model."""
        if not isinstance(optim_wrapper, OptimWrapper):
            raise OptionError('--fsdp goes with one optimizer, and this config has several: leave --fsdp out')
        if any(isinstance(hook, EMAHook) for hook in self.hooks):
            raise OptionError('--fsdp does not go with EMAHook, which copies the whole model: leave out one of them')
        scaler = getattr(optim_wrapper, 'loss_scaler', None)
        if scaler is not None and scaler.is_enabled():
            raise OptionError(
                '--fsdp does not go with a loss scale (float16 has one), which would differ by part: take --precision '
                'bf16, or leave --fsdp out'
            )

    def save_checkpoint(self, *args: Any, save_optimizer: bool = True, **kwargs: Any) -> None:
        """Write a checkpoint; all processes call it, the main one writes.

        Args:
            *args: See :meth:`mmengine.runner.Runner.save_checkpoint`.
            save_optimizer: Whether the state of the optimizer is in it.
            **kwargs: See there.
        """
        with whole_states(self.model, self.optim_wrapper if save_optimizer else None):
            super().save_checkpoint(*args, save_optimizer=save_optimizer, **kwargs)

    @staticmethod
    def build_dataloader(dataloader: Any, *args: Any, **kwargs: Any) -> DataLoader:
        """Build a data loader; errors of its data set name the folder, the picture and the step that failed.

        Args:
            dataloader: Config, or a loader that is taken as it is.
            *args: See :meth:`mmengine.runner.Runner.build_dataloader`.
            **kwargs: The same.
        """
        with explained(dataloader.get('dataset') if isinstance(dataloader, dict) else None):
            loader = Runner.build_dataloader(dataloader, *args, **kwargs)
        name_samples(loader.dataset)
        return loader

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable[..., Any] = 'cpu',
        strict: bool = False,
        revise_keys: ReviseKeys = ((r'^module\.', ''),),
    ) -> dict[str, Any]:
        """Load a checkpoint into the model.

        Args:
            filename: See :func:`denseclip.engine.checkpoints.read_training_file`.
            map_location: Accepted for compatibility; tensors are read to the CPU and copied to where the model is.
            strict: Require that names and shapes agree (also with :attr:`strict`).
            revise_keys: Regular expressions and replacements for the names.

        Returns:
            The checkpoint.
        """
        checkpoint = read_training_file(str(filename), trust=self.trust)
        _drop_empty_scales(checkpoint.get('optimizer'))
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        model = unwrap_model(self.model)
        notes = load_weights(
            model,
            checkpoint['state_dict'],
            source=filename,
            strict=strict or self.strict,
            revise_keys=revise_keys,
        )
        for note in notes:
            self.logger.warning(note)
        self.logger.info(f'loaded {filename}')
        return checkpoint

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable[..., Any] = 'cpu',
    ) -> None:
        """Continue the run that wrote a checkpoint.

        Args:
            filename: The checkpoint.
            resume_optimizer: Restore the optimizer.
            resume_param_scheduler: Restore the schedules.
            map_location: See :meth:`load_checkpoint`.

        Raises:
            OptionError: The file holds weights only.
        """
        self.strict = True
        try:
            super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        except KeyError as error:
            if error.args[0] not in ('epoch', 'iter', 'message_hub'):
                raise
            raise OptionError(
                f"cannot resume from '{filename}': it holds weights only, no training state. Use it as a start instead "
                f'(--cfg-options load_from={filename}), or resume from a checkpoint that training wrote.'
            ) from error


def _drop_empty_scales(state: Any) -> None:
    """Take out loss scales of runs that had none (bfloat16): a run that has one begins its own, PyTorch's refuses."""
    if not isinstance(state, dict):
        return
    for part in (state, *state.values()):  # of one optimizer, or of several by name
        if isinstance(part, dict) and part.get('loss_scaler') == {}:
            del part['loss_scaler']

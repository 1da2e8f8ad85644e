"""Batch-norm statistics measured once more, by the final weights on the pictures that the model will see."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from denseclip.engine.rng import isolated_rng

from .vocabulary_check import unwrap_model


@HOOKS.register_module()
class PreciseBNHook(Hook):
    """Replace running statistics by the mean over one pass through a data set, after the last iteration.

    While a model learns, its running mean and variance are averages over the last few batches, over weights that still
    changed, and over augmented crops: with small batches they fit neither the final weights nor whole pictures at test
    size. One more pass with the final weights, without gradients, gives the statistics of just those. It happens before
    the last validation and before the last checkpoint is written. Layers in evaluation mode (frozen) keep theirs.

    Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3 (precise batch norm, mean over batches)
    and section 5 (statistics of the domain and the size of testing).

    Args:
        batch_size: Pictures per batch and process. They must be of one size after the pipeline, or the data
            preprocessor must pad them.
        dataloader: Data loader config instead of the training set under the pipeline of testing. Only pictures count,
            labels are read because the model's loss is what runs the heads.
        seed: Of what is random in the pass (dropout, drawn names). Draws of the training itself are not touched.
    """

    # before SafeCheckpointHook and MMEngine's validation, after the optimizer
    priority = 'NORMAL'

    def __init__(self, batch_size: int = 8, dataloader: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        self.batch_size = batch_size
        self.dataloader = dataloader
        self.seed = seed

    def before_train(self, runner: Runner) -> None:
        """Check that nothing else replaces the weights.

        Raises:
            ValueError: If the run keeps an exponential moving average: its weights would get the statistics of others.
        """
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise ValueError(
                'PreciseBNHook measures the trained weights, EMAHook saves averaged ones: use one of them.'
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Measure after the last iteration."""
        del batch_idx, data_batch, outputs
        if runner.iter + 1 == runner.max_iters:
            loader = runner.build_dataloader(self.loader_config(runner.cfg), seed=self.seed)
            with isolated_rng((self.seed,), cuda=True):
                count = measure_batch_norm(unwrap_model(runner.model), loader)
            runner.logger.info(f'measured the statistics of {count} batch-norm layers over {len(loader)} batches')

    def loader_config(self, config: Config) -> dict[str, Any]:
        """The data loader of the pass: the one given, or whole training pictures as testing sees them.

        Raises:
            ValueError: If the training set is a wrapper, whose pipeline lies deeper.
        """
        if self.dataloader is not None:
            return dict(self.dataloader)
        training, testing = config.train_dataloader, config.test_dataloader.dataset
        if 'pipeline' not in training.dataset or 'pipeline' not in testing:
            raise ValueError(
                f'PreciseBNHook: {training.dataset.type} and {testing.type} must have a pipeline of their own; '
                'for wrapped data sets give PreciseBNHook(dataloader=...).'
            )
        return {
            'batch_size': self.batch_size,
            'num_workers': training.get('num_workers', 0),
            'sampler': {'type': 'DefaultSampler', 'shuffle': True},
            'dataset': copy.deepcopy({**training.dataset, 'pipeline': testing.pipeline}),
        }


def measure_batch_norm(model: Any, loader: Any) -> int:
    """Set the statistics of all batch-norm layers in training mode to their mean over the batches of a loader.

    Args:
        model: MMEngine model in training mode, with ``data_preprocessor`` and ``forward(..., mode='loss')``.
        loader: Its batches.

    Returns:
        Number of layers measured.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    if layers:
        with cumulative(layers), torch.no_grad():
            for batch in loader:
                batch = model.data_preprocessor(batch, True)
                model(**batch, mode='loss')
        for layer in layers:
            for statistic in (layer.running_mean, layer.running_var):
                assert statistic is not None
                all_reduce(statistic, op='mean')
    return len(layers)


@contextmanager
def cumulative(layers: list[_BatchNorm]) -> Iterator[None]:
    """Let batch-norm layers start anew and weigh every batch alike."""
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

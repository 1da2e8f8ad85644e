"""Batch-norm statistics measured once more, by the final weights on the pictures that the model will see."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from denseclip.datasets.files import UnreadableFileError
from denseclip.datasets.sources import plain_datasets
from denseclip.engine.data import make_resumable
from denseclip.engine.data.samples import SampleError
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
        batch_size: Pictures per batch and process.
        dataloader: Data loader config instead of the training set under the pipeline of testing. Only pictures count,
            labels are read because the model's loss is what runs the heads, and brought to the pictures' size. Damaged
            pictures are passed over as ``train_cfg.on_damaged`` says.
        seed: Of what is random in the pass (dropout, drawn names). Draws of the training itself are not touched.
    """

    # before SafeCheckpointHook and MMEngine's validation, after the optimizer
    priority = 'NORMAL'

    def __init__(self, batch_size: int = 8, dataloader: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        self.batch_size = batch_size
        self.dataloader = dataloader
        self.seed = seed

    def before_train(self, runner: Runner) -> None:
        """Check what could not be done at the end; one batch goes through the model and leaves no trace.

        Raises:
            ValueError: If the run keeps an exponential moving average: its weights would get the statistics of others;
                if the batch cannot be measured; or see :meth:`loader_config`.
        """
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise ValueError(
                'PreciseBNHook measures the trained weights, EMAHook saves averaged ones: use one of them.'
            )
        self.loader_config(runner.cfg)
        model = unwrap_model(runner.model)
        kept = {name: value.clone() for name, value in model.named_buffers()}
        try:
            self._measure(runner, batches=1)
        except (SampleError, UnreadableFileError):
            raise  # names the file
        except Exception as error:
            raise ValueError(
                'PreciseBNHook cannot measure a batch of whole training pictures, as it would after the last iteration '
                f'({type(error).__name__}: {str(error).strip()[:300]}): give it a smaller batch_size or another '
                'dataloader, or take it out of custom_hooks.'
            ) from error
        finally:
            with torch.no_grad():
                for name, value in model.named_buffers():
                    if name in kept and kept[name].shape == value.shape:
                        value.copy_(kept[name])

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Measure after the last iteration."""
        del batch_idx, data_batch, outputs
        if runner.iter + 1 == runner.max_iters:
            layers, batches = self._measure(runner)
            runner.logger.info(f'measured the statistics of {layers} batch-norm layers over {batches} batches')

    def _measure(self, runner: Runner, batches: int | None = None) -> tuple[int, int]:
        """Numbers of layers and of batches; with ``batches`` only so many are read, in this process."""
        config = self.loader_config(runner.cfg)
        if batches is not None:
            config['num_workers'] = 0
            for key in ('persistent_workers', 'prefetch_factor'):
                config.pop(key, None)
        with isolated_rng((self.seed,), cuda=True):
            loader = runner.build_dataloader(config, seed=self.seed)
            if runner.cfg.train_cfg.get('on_damaged') == 'skip':
                loader = make_resumable(loader, self.seed, 'skip')
            layers = measure_batch_norm(unwrap_model(runner.model), islice(loader, batches))
        return layers, len(loader)

    def loader_config(self, config: Config) -> dict[str, Any]:
        """The data loader of the pass: the one given, or whole training pictures as testing sees them.

        Data sets are taken out of wrappers: each of their pictures counts once.

        Raises:
            ValueError: If a data set is no config with a pipeline.
        """
        if self.dataloader is not None:
            return dict(self.dataloader)
        training, testing = config.train_dataloader, config.test_dataloader.dataset
        parts, [like, *_] = list(plain_datasets(training.dataset)), list(plain_datasets(testing))
        for part in (*parts, like):
            if 'pipeline' not in part or 'type' not in part:
                raise ValueError(
                    f'PreciseBNHook: {training.dataset.type} and {testing.type} must hold data sets with a type and a '
                    'pipeline; for others give PreciseBNHook(dataloader=...).'
                )
        datasets = copy.deepcopy([{**part, 'pipeline': like['pipeline']} for part in parts])
        ignored = {key: training.dataset[key] for key in ('ignore_keys',) if key in training.dataset}
        return {
            'batch_size': self.batch_size,
            'num_workers': training.get('num_workers', 0),
            'sampler': {'type': 'DefaultSampler', 'shuffle': True},
            'dataset': datasets[0]
            if len(datasets) == 1
            else {'type': 'ConcatDataset', 'datasets': datasets, **ignored},
        }


def measure_batch_norm(model: Any, loader: Any) -> int:
    """Set the statistics of all batch-norm layers in training mode to their mean over the batches of a loader.

    Pictures of a batch that differ in size go through the model in groups of one size, weighed by their number. Label
    maps are resized to their pictures: test pipelines load them at the size of the file. Processes make the same number
    of passes, so that layers and wrappers that synchronize in each pass (SyncBN, FSDP) wait for nobody.

    Args:
        model: MMEngine model in training mode, with ``data_preprocessor`` and ``forward(..., mode='loss')``.
        loader: Its batches, as many on every process.

    Returns:
        Number of layers measured.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    if layers:
        with averaging(layers) as weigh, torch.no_grad():
            for batch in loader:
                for group, share in in_step(list(same_sized(batch)), next(model.parameters()).device):
                    weigh(share)
                    model(**model.data_preprocessor(group, True), mode='loss')
        for layer in layers:
            for statistic in (layer.running_mean, layer.running_var):
                assert statistic is not None
                all_reduce(statistic, op='mean')
    return len(layers)


def in_step(groups: list[tuple[Any, float]], device: torch.device) -> list[tuple[Any, float]]:
    """Groups of :func:`same_sized`, as many on every process: the first is repeated, and its share divided."""
    if get_world_size() == 1:
        return groups
    most = torch.tensor(len(groups), device=device)
    all_reduce(most, op='max')
    times = int(most) - len(groups) + 1
    group, share = groups[0]
    return [(copy.deepcopy(group), share / times) for _ in range(times)] + groups[1:]


def same_sized(batch: Any) -> Iterator[tuple[Any, float]]:
    """A batch in groups of pictures of one size with labels of that size, each with its share of the batch."""
    inputs = batch.get('inputs') if isinstance(batch, Mapping) else None
    sizes = [tuple(picture.shape) for picture in inputs] if isinstance(inputs, list | tuple) else []
    samples = batch.get('data_samples') if sizes else None
    if isinstance(samples, list | tuple):
        fitted = [_fit_labels(sample, size[-2:]) for sample, size in zip(samples, sizes, strict=True)]
        batch = {**batch, 'data_samples': fitted}
    if len(set(sizes)) < 2:
        yield batch, 1.0
        return
    for size in dict.fromkeys(sizes):
        places = [place for place, other in enumerate(sizes) if other == size]
        group = {
            key: [value[place] for place in places] if isinstance(value, list | tuple) else value
            for key, value in batch.items()
        }
        yield group, len(places) / len(sizes)


def _fit_labels(sample: Any, size: tuple[int, ...]) -> Any:
    """A data sample whose label maps, and masks in tensors, have the size of its picture."""
    if not isinstance(sample, BaseDataElement):
        return sample
    fitted = sample.clone()
    for name, value in sample.items():
        if isinstance(value, PixelData):
            maps = {key: _resized(labels, size) for key, labels in value.items()}
            setattr(fitted, name, PixelData(metainfo=value.metainfo, **maps))
        elif isinstance(value, BaseDataElement) and isinstance(value.get('masks'), Tensor):
            instances = value.clone()
            instances.masks = _resized(value.masks, size)
            setattr(fitted, name, instances)
    return fitted


def _resized(labels: Any, size: tuple[int, ...]) -> Tensor:
    """Labels (..., H, W) at another size, by the nearest pixel."""
    labels = torch.as_tensor(labels)
    if labels.shape[-2:] == size or not labels.numel():
        return labels
    rows, columns = (
        (torch.arange(new) + 0.5).mul(old / new).long() for new, old in zip(size, labels.shape[-2:], strict=True)
    )
    return labels[..., rows[:, None], columns]


@contextmanager
def averaging(layers: list[_BatchNorm]) -> Iterator[Callable[[float], None]]:
    """Let batch-norm layers keep the weighted mean of what they see from now on.

    A layer that sees one value a channel (behind a global pooling, with one picture) has no variance to measure: it
    normalizes by what it knows already.

    Args:
        layers: In training mode.

    Yields:
        A function that sets the weight of the passes that follow.
    """
    weight, momenta = [1.0], [layer.momentum for layer in layers]
    totals = dict.fromkeys(layers, 0.0)

    def before(layer: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].numel() <= inputs[0].shape[1]:
            layer.eval()
            return
        if not totals[layer]:
            layer.reset_running_stats()
        totals[layer] += weight[0]
        layer.momentum = weight[0] / totals[layer]

    def after(layer: _BatchNorm, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        layer.train()

    def weigh(share: float) -> None:
        weight[0] = share

    handles = [layer.register_forward_pre_hook(before) for layer in layers]
    handles += [layer.register_forward_hook(after) for layer in layers]
    try:
        yield weigh
    finally:
        for handle in handles:
            handle.remove()
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.train()

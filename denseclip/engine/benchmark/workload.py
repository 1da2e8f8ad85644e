"""From a config to something that can be run again and again: a model and random pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..checkpoints import load_weights, read_training_file
from ..config import OptionError, load_config
from .machine import set_up
from .plain_open_vocab import is_open_vocabulary


@dataclass(frozen=True)
class ModelOptions:
    """What to measure.

    Attributes:
        config: Config file.
        checkpoint: Weights; None leaves the model as it was built (pretrained weights are not loaded either: time does
            not depend on them).
        shape: Height and width of the pictures.
        batch_size: Pictures per step.
        device: Where the model runs.
        threads: CPU threads; None leaves PyTorch's choice.
        vocabulary: Anything that ``Vocabulary.of`` accepts, instead of the config's.
        train: Measure a training step instead of a prediction.
        overrides: Dotted config keys and values.
        trust: Read a checkpoint even if that runs code in it.
    """

    config: str
    checkpoint: str | None = None
    shape: tuple[int, int] = (512, 512)
    batch_size: int = 1
    device: str = 'cpu'
    threads: int | None = None
    vocabulary: str | None = None
    train: bool = False
    overrides: Mapping[str, Any] | None = None
    trust: bool = False


class Workload:
    """A model and a batch of random pictures.

    Args:
        options: What to build.

    Attributes:
        model: The model, in the mode that is measured.
        options: As given.
        optim_wrapper: For training steps.
    """

    def __init__(self, options: ModelOptions) -> None:
        set_up(options.device, options.threads)
        self.options = options
        config = load_config(options.config, options.overrides)
        self.model = cast(Any, build_model(config, options))
        self.model.train(options.train)
        generator = torch.Generator().manual_seed(0)
        shape = (options.batch_size, 3, *options.shape)
        self._pictures = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        self._labels = torch.randint(0, self.num_classes, (options.batch_size, 1, *options.shape), generator=generator)
        self.optim_wrapper = build_optim_wrapper(self.model, config.optim_wrapper) if options.train else None

    @property
    def num_classes(self) -> int:
        """Classes that the model tells apart."""
        return int(getattr(self.model, 'decode_head', self.model).num_classes)

    def batch(self) -> dict[str, list[Any]]:
        """The batch as a data loader gives it; data samples are new each time because models write into them."""
        shape = self.options.shape
        samples = []
        for labels in self._labels:
            meta = {'img_shape': shape, 'ori_shape': shape, 'pad_shape': shape, 'scale_factor': (1.0, 1.0)}
            sample = SegDataSample(metainfo=meta)
            if self.options.train:
                sample.gt_sem_seg = PixelData(data=labels)
            samples.append(sample)
        return {'inputs': list(self._pictures), 'data_samples': samples}

    def step(self) -> Any:
        """One prediction of the whole batch, or one training step; returns what the model returns."""
        if self.optim_wrapper is not None:
            return self.model.train_step(self.batch(), self.optim_wrapper)
        with torch.no_grad():
            return self.model.test_step(self.batch())

    def losses(self) -> dict[str, Tensor]:
        """Losses of the batch, no weight changed; random choices are the same at every call."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            data = self.model.data_preprocessor(self.batch(), True)
            return self.model(**data, mode='loss')

    def label_maps(self) -> list[Tensor]:
        """Predicted label maps of the batch."""
        return [sample.pred_sem_seg.data for sample in self.step()]


def build_model(config: Config, options: ModelOptions) -> nn.Module:
    """Build the segmentor of a config, on the device, without ``SyncBN`` and without pretrained weights.

    Raises:
        OptionError: If the config has no segmentor, or a vocabulary is given to a model that takes none.
    """
    if 'model' not in config:
        raise OptionError(f"config '{options.config}' has no model")
    init_default_scope(config.get('default_scope', 'mmseg'))
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(config.model))
    if is_open_vocabulary(model):
        model.forget_pretrained()
    elif not hasattr(model, 'decode_head'):
        raise OptionError(f"'{options.config}' builds a {type(model).__name__}; only segmentors are measured")
    if options.checkpoint:
        state = read_training_file(options.checkpoint, trust=options.trust)['state_dict']
        load_weights(model, state, source=options.checkpoint, strict=True)
    if options.vocabulary:
        if not hasattr(model, 'set_vocabulary'):
            raise OptionError(f'--vocabulary needs an open-vocabulary model; {type(model).__name__} has fixed classes')
        model.set_vocabulary(options.vocabulary)
    return model.to(options.device)

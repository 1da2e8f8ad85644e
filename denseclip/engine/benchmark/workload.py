"""From a config to something that can be run again and again: a model and random pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from denseclip.core.precision import Precision

from ...compat.logs import quiet
from ..checkpoints import load_weights, read_training_file
from ..compute import Compute, Layout
from ..config import OptionError, load_config, use_amp
from .machine import set_up
from .plain_open_vocab import is_open_vocabulary
from .tasks import PICTURE, InputSize, input_size, task_of


@dataclass(frozen=True)
class ModelOptions:
    """What to measure.

    Attributes:
        config: Config file.
        checkpoint: Weights; None leaves the model as it was built (pretrained weights are not loaded either: time does
            not depend on them).
        shape: Height and width of the network's input, which results are made for as well; None takes what the
            config's test pipeline makes of a picture of the size ``picture``. Training steps take the config's
            ``crop_size``.
        picture: Height and width of the picture file; COCO's most frequent size by default.
        batch_size: Pictures per step.
        device: Where the model runs.
        threads: CPU threads; None leaves PyTorch's choice.
        vocabulary: Anything that ``Vocabulary.of`` accepts, instead of the config's.
        train: Measure a training step instead of a prediction.
        precision: See :class:`denseclip.engine.compute.Compute`.
        layout: See there.
        compile: See there.
        grad_checkpointing: See there.
        overrides: Dotted config keys and values.
        trust: Read a checkpoint even if that runs code in it.
    """

    config: str
    checkpoint: str | None = None
    shape: tuple[int, int] | None = None
    picture: tuple[int, int] = PICTURE
    batch_size: int = 1
    device: str = 'cpu'
    threads: int | None = None
    vocabulary: str | None = None
    train: bool = False
    precision: Precision = 'fp32'
    layout: Layout = 'auto'
    compile: bool | str = False
    grad_checkpointing: bool = False
    overrides: Mapping[str, Any] | None = None
    trust: bool = False


class Workload:
    """A model and a batch of random pictures.

    Args:
        options: What to build.

    Attributes:
        model: The model, in the mode that is measured.
        options: As given.
        task: How such a model is run.
        size: Sizes of the pictures.
        optim_wrapper: For training steps.
        compute: How the model computes.
    """

    def __init__(self, options: ModelOptions) -> None:
        set_up(options.device, options.threads)
        self.options = options
        config = load_config(options.config, options.overrides)
        self.model = cast(Any, build_model(config, options))
        self.model.train(options.train)
        task = task_of(self.model)
        assert task is not None
        self.task = task
        self.size = self._input_size(config)
        generator = torch.Generator().manual_seed(0)
        shape = (options.batch_size, 3, *self.size.input)
        self._pictures = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        self._samples = [task.sample(self.size, options.train, generator) for _ in range(options.batch_size)]
        self.optim_wrapper = None
        if options.train:
            use_amp(config, wanted=False, precision=options.precision)
            with quiet(logging.ERROR):
                self.optim_wrapper = build_optim_wrapper(self.model, config.optim_wrapper)
        if is_open_vocabulary(self.model) and not options.checkpoint and not options.train:
            give_random_text(self.model, self._pictures[:1])
        try:
            self.compute = Compute(options.precision, options.layout, options.compile, options.grad_checkpointing)
            self.compute.prepare(self.model, training=options.train)
        except ValueError as error:
            raise OptionError(str(error)) from error

    def _input_size(self, config: Config) -> InputSize:
        options = self.options
        shape = config.get('crop_size') if options.train and options.shape is None else options.shape
        if not shape:
            return input_size(config, options.picture)
        height, width = (int(side) for side in shape)
        return InputSize((height, width), (height, width))

    @property
    def num_classes(self) -> int:
        """Classes that the model tells apart."""
        return self.task.num_classes

    def batch(self) -> dict[str, list[Any]]:
        """The batch as a data loader gives it; data samples are new each time because models write into them."""
        return {'inputs': list(self._pictures), 'data_samples': [sample.clone() for sample in self._samples]}

    def step(self) -> Any:
        """One prediction of the whole batch, or one training step; returns what the model returns."""
        if self.optim_wrapper is not None:
            return self.model.train_step(self.batch(), self.optim_wrapper)
        with torch.no_grad(), self.compute.running(self.model):
            return self.model.test_step(self.batch())

    def losses(self) -> dict[str, Tensor]:
        """Losses of the batch, no weight changed; random choices are the same at every call."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            data = self.model.data_preprocessor(self.batch(), True)
            with self.compute.running(self.model):
                losses = self.model(**data, mode='loss')
        return {k: torch.stack(v).sum() if isinstance(v, list) else v for k, v in losses.items() if 'loss' in k}

    def results(self) -> dict[str, Tensor]:
        """Predictions of the batch."""
        return self.task.results(self.step())


def give_random_text(model: Any, pictures: Tensor) -> None:
    """Give an open-vocabulary model with fresh weights class embeddings that make no work easier.

    Encoding a vocabulary is not part of a step. Rows are pixel embeddings of the picture itself, with a little noise,
    so that most classes win somewhere: with random rows a few would win everywhere, which label maps are faster for.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        dense = model.dense_features(model.data_preprocessor({'inputs': list(pictures)}, False)['inputs'])
    rows = F.normalize(dense[0].flatten(1).T, dim=-1).cpu()
    rows = rows[torch.randint(len(rows), (model.text.num_rows,), generator=generator)]
    rows = rows + 0.1 * F.normalize(torch.randn(rows.shape, generator=generator), dim=-1)
    model.set_class_embeddings(rows.to(dense), model.vocabulary)


def build_model(config: Config, options: ModelOptions) -> nn.Module:
    """Build the model of a config, on the device, without ``SyncBN`` and without pretrained weights.

    Raises:
        OptionError: If the config has no model of a kind that is measured, or a vocabulary is given to a model that
            takes none.
    """
    if 'model' not in config:
        raise OptionError(f"config '{options.config}' has no model")
    init_default_scope(config.get('default_scope', 'mmseg'))
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(config.model))
    if hasattr(model, 'forget_pretrained'):
        model.forget_pretrained()
    if task_of(model) is None:
        raise OptionError(
            f"'{options.config}' builds a {type(model).__name__}; segmentors, detectors and anomaly models are measured"
        )
    if options.checkpoint:
        state = read_training_file(options.checkpoint, trust=options.trust)['state_dict']
        load_weights(model, state, source=options.checkpoint, strict=True)
    if options.vocabulary:
        if not hasattr(model, 'set_vocabulary'):
            raise OptionError(f'--vocabulary needs an open-vocabulary model; {type(model).__name__} has fixed classes')
        model.set_vocabulary(options.vocabulary)
    return model.to(options.device)

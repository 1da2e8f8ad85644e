"""Whether a model can be tested by its config alone, or a checkpoint must bring its weights."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from .config import OptionError
from .model_class import model_class


def require_checkpoint(checkpoint: str | Path | None, config: Config) -> None:
    """Refuse a checkpoint that is not there, and a model that would be tested with random weights.

    A source with a scheme is looked up when it is read; a plain path must exist now.

    Raises:
        OptionError: Then.
    """
    if checkpoint is not None:
        if not str(checkpoint):
            raise OptionError('the checkpoint to test has an empty name: name a file, or leave it out')
        if ':' not in str(checkpoint) and not Path(checkpoint).exists():
            raise OptionError(f"checkpoint '{checkpoint}' does not exist")
    elif config.get('train_dataloader') is not None:
        raise OptionError('this config trains a model: name the checkpoint to test')
    elif not names_its_weights(config):
        kind = model_class(config)
        asked = [name for name in getattr(kind, 'weights_named_by', ()) if config.model.get(name) is None]
        hint = f', or give model.{" and model.".join(asked)}' if asked else ''
        raise OptionError(
            f'{config.model.type} has no weights but those of a checkpoint, and would be tested with random ones: name '
            f'the checkpoint to test{hint}'
        )


def names_its_weights(config: Config) -> bool:
    """Whether the config says where all weights of its model come from.

    Models for which that is possible have an attribute ``weights_named_by``: the arguments that must be given then.
    """
    kind = model_class(config)
    if kind is None or (config.model.get('init_cfg') or {}).get('type') == 'Pretrained':
        return True  # what nobody knows is refused when it is built
    named_by = getattr(kind, 'weights_named_by', ())
    return bool(named_by) and all(config.model.get(name) is not None for name in named_by)

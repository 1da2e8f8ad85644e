"""The model and the pictures that are put to the test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from denseclip.apis.catalogue import find_card, is_config
from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.loading import load_model
from denseclip.apis.stress.identity import fingerprint
from denseclip.apis.stress.pictures import LabelledPictures
from denseclip.apis.stress.zero_shot import require_extras, zero_shot_model
from denseclip.apis.zoo import ours
from denseclip.clip.presets import preset as find_preset
from denseclip.clip.vocabulary import Vocabulary
from denseclip.engine.config import load_config
from denseclip.files.shipped import here_or_shipped


@dataclass(frozen=True)
class Subject:
    """Who is tested on what.

    Attributes:
        model: A segmentor; its classes are those of the pictures, in their order.
        pictures: With labels.
        identity: Hash of all that results depend on, but for the list of tests.
        title: Model and data, for people.
    """

    model: Inferencer
    pictures: LabelledPictures
    identity: str
    title: dict[str, str]


def load_subject(
    name: str | Path,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    preset: str | None = None,
    limit: int | None = None,
    overrides: dict[str, Any] | None = None,
    **options: Any,
) -> Subject:
    """Load model and pictures.

    Args:
        name: A config, or a name that ``denseclip models`` shows.
        weights: Checkpoint of the model; None: what its config names.
        data: Config whose test pictures are taken; None: those of the model's config.
        preset: Training-free method in place of that of a config.
        limit: Most pictures.
        overrides: Dotted keys and values of the model's config.
        **options: Further arguments of ``load_model``.

    Raises:
        UserError: If something is missing, or model and pictures do not go together.
    """
    config, own = _config_of(name, preset, overrides or {})
    if config is None and data is None:
        raise UserError(f"'{name}' is a method without pictures of its own: name a config that has some with --data.")
    source = str(data if data is not None else name)
    shown = config if data is None else load_config(data, whole=False)
    pictures = LabelledPictures(shown, source, limit)
    model = _model(name, config, weights or own, pictures, given=data is not None, options=options)
    given = {key: str(value) for key, value in options.items() if value is not None}
    made_of = [str(name), weights or own, source, preset, limit, overrides, given]
    made_of += [_settings(config, 'model', 'load_from', 'test_pipeline'), _settings(shown, 'test_dataloader')]
    digest = fingerprint(made_of, pictures.files())
    title = {'model': Path(name).stem if is_config(name) else str(name), 'data': pictures.kind}
    title |= {'preset': preset} if preset else {}
    return Subject(model, pictures, digest, title)


def _config_of(
    name: str | Path, preset: str | None, overrides: dict[str, Any]
) -> tuple[Config | None, str | Path | None]:
    """The config that a name means, and weights that came with it."""
    weights: str | Path | None = None
    if not is_config(name):
        card = find_card(str(name))
        if card.kind != 'zoo':
            if preset or overrides:
                raise UserError(f"'{name}' has no config: leave --preset and --cfg-options out.")
            return None, None
        name, weights = ours(str(card.config)), card.weights and ours(card.weights)
    config = load_config(name, overrides)
    if preset is not None:
        clip = config.get('model', {}).get('clip')
        if not isinstance(clip, dict) or 'preset' not in clip:
            raise UserError(f"config '{name}' has no training-free method (model.clip.preset): leave --preset out.")
        try:
            clip['preset'], config.model.type = preset, find_preset(preset).type
        except ValueError as error:
            raise UserError(f'--preset: {error}') from error
    return config, weights


def _model(
    name: str | Path,
    config: Config | None,
    weights: str | Path | None,
    pictures: LabelledPictures,
    *,
    given: bool,
    options: dict[str, Any],
) -> Inferencer:
    words = Vocabulary.from_names(pictures.names) if given else None
    if config is None:
        model = load_model(str(name), weights=weights, words=words, **options)
        return _checked(model, pictures)
    require_extras(config, weights or config.get('load_from'))
    if weights is None and config.get('load_from') is None and config.get('train_dataloader') is None:
        model = zero_shot_model(config, **options)
        if words is not None:
            model.set_vocabulary(words)
    else:
        found = None if weights is None else here_or_shipped(weights)
        model = load_model(config=config, weights=found, words=words, **options)
    return _checked(model, pictures)


def _settings(config: Config | None, *keys: str) -> dict[str, Any]:
    """Some parts of a config as plain data."""
    whole = {} if config is None else config.to_dict()
    return {key: whole.get(key) for key in keys}


def _checked(model: Any, pictures: LabelledPictures) -> Inferencer:
    """The model, if it can be asked for the classes of the pictures."""
    if not isinstance(model, Inferencer):
        raise UserError(f'{type(model.model).__name__} labels no pixels by classes: stress needs a segmentor.')
    if len(model.vocabulary) != len(pictures.names):
        raise UserError(
            f'the model tells apart {len(model.vocabulary)} classes, the pictures have {len(pictures.names)}: name the '
            'data with --data, so that the model is asked for their classes.'
        )
    return model

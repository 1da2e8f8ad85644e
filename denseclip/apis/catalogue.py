"""All models that can be loaded by name: those of the zoo, training-free presets, methods."""

from __future__ import annotations

import difflib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.methods import METHODS
from denseclip.apis.zoo import ZooModel, zoo_models
from denseclip.files.shipped import config_file

KINDS = ('zoo', 'preset', 'method')
TASKS = ('semantic', 'panoptic', 'instance', 'anomaly')


@dataclass(frozen=True)
class ModelCard:
    """A model that ``load_model`` knows by name.

    Attributes:
        name: The name.
        kind: ``'zoo'``: a config with weights of its own, here or elsewhere. ``'preset'``: a training-free method on
            any CLIP. ``'method'``: a published method, with the config of its published weights.
        tasks: What it gives: ``'semantic'``, ``'panoptic'``, ``'instance'``, ``'anomaly'``.
        needs: Arguments of ``load_model`` that must be given; nothing for a model that is here as a whole.
        line: What it is.
        config: Its config, relative to the package; None for presets.
        weights: Its weights in this package, relative to it; None if they are elsewhere.
        url: Where its weights are published as a file, if they are.
        model: Its class.
    """

    name: str
    kind: str
    tasks: tuple[str, ...]
    needs: tuple[str, ...]
    line: str
    config: str | None = None
    weights: str | None = None
    url: str | None = None
    model: str = ''

    @property
    def exportable(self) -> bool:
        """Whether ``denseclip export`` can write it; other configs of its class may be refused."""
        return not self.reason

    @property
    def reason(self) -> str:
        """Why ``denseclip export`` cannot; empty where it can."""
        from denseclip.clip.presets import PRESETS
        from denseclip.export.reasons import PARTS, why_not, why_not_preset

        if self.kind == 'preset':
            return why_not_preset(PRESETS[self.name])
        part = METHODS[self.name].part if self.kind == 'method' else ''
        return PARTS[part] if part else why_not(self.model)

    @property
    def takes(self) -> tuple[str, ...]:
        """Which of ``clip``, ``pretrained``, ``dino`` and ``masks`` it takes: a user's CLIP, and what helps it."""
        if self.kind == 'preset':
            dino = ('dino',) if 'affinity' in self.needs else ()
            return ('clip', 'pretrained', *dino, *(('masks',) if {'regions', 'sam'} & {*self.needs} else ()))
        if self.name == 'ovseg':
            return ('clip', 'pretrained', 'masks')
        return ('clip', 'pretrained') if 'anomaly' in self.tasks else ()

    @property
    def ready(self) -> bool:
        """Whether it works without a download and without any argument."""
        return not self.needs

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {**asdict(self), 'exportable': self.exportable, 'reason': self.reason}


def list_models(task: str | None = None, kind: str | None = None) -> list[ModelCard]:
    """All models that :func:`load_model` knows by name.

    Args:
        task: Only models that give it: ``'semantic'``, ``'panoptic'``, ``'instance'`` or ``'anomaly'``.
        kind: Only ``'zoo'``, ``'preset'`` or ``'method'``.

    Raises:
        UserError: If there is no such task or kind.

    Example:
        >>> [card.name for card in list_models('anomaly')]
        ['anovl', 'anovl-tta', 'winclip', 'april-gan']
    """
    for given, known, what in ((task, TASKS, 'task'), (kind, KINDS, 'kind')):
        if given is not None and given not in known:
            raise UserError(f"no {what} is called '{given}'; there are {', '.join(known)}.")
    found = [*_zoo(), *_presets(), *_methods()]
    return [card for card in found if task in (None, *card.tasks) and kind in (None, card.kind)]


def find_card(name: str) -> ModelCard:
    """A model by name.

    Raises:
        UserError: If there is none; the nearest is suggested.
    """
    known = {card.name: card for card in list_models()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else 'it is no file, either.'
    raise UserError(f"no model is called '{name}'; {hint} `denseclip models` (list_models()) shows all names.")


def one_of(**names: Any) -> Any:
    """The one name that is given, or None.

    Raises:
        UserError: If several are.
    """
    given = {key: value for key, value in names.items() if value is not None}
    if len(given) > 1:
        listed = ' and '.join(f'{key} {value}' for key, value in given.items())
        raise UserError(f'{listed} are two models: leave one of them out.')
    return next(iter(given.values()), None)


def is_config(name: str | Path) -> bool:
    """Whether a name means a config, as a file or one of the package, or a shared model, and no model of the list."""
    path = Path(name)
    return (
        is_shared(name)
        or isinstance(name, Path)
        or path.suffix in ('.py', '.json', '.yml', '.yaml')
        or len(path.parts) > 1
        or (config_file(name).suffix == '.py' and all(card.name != name for card in list_models()))
    )


def is_shared(name: str | Path) -> bool:
    """Whether a name means a model that ``save_pretrained()`` or ``push_to_hub()`` wrote: a folder, or a repository."""
    return str(name).startswith(('hf-hub:', 'local-dir:')) or os.path.isfile(f'{name}/config.json')  # noqa: PTH113


def _zoo() -> list[ModelCard]:
    return [_of_zoo(model) for model in zoo_models().values() if model.config]


def _of_zoo(model: ZooModel) -> ModelCard:
    line = model.dataset + (f', mIoU {model.miou}' if model.miou else '')
    if model.is_default:
        line += '; the model that is used when none is named'
    elif model.file is None and model.url is None:
        line += '; its weights are not published as a file'
    needs = () if model.file else ('weights',)
    return ModelCard(model.name, 'zoo', model.tasks, needs, line, model.config, model.file, model.url, model.model)


def _presets() -> list[ModelCard]:
    from denseclip.clip.presets import PRESETS

    return [
        ModelCard(
            name,
            'preset',
            ('semantic',),
            ('words', *(('config', 'weights') if preset.is_checkpoint else preset.plug_ins)),
            preset.source + ('; runs by its config, not by its name' if preset.is_checkpoint else ''),
            model=preset.type,
        )
        for name, preset in PRESETS.items()
    ]


def _methods() -> list[ModelCard]:
    return [
        ModelCard(name, 'method', method.tasks, method.needs, method.line, method.config, model=method.model)
        for name, method in METHODS.items()
    ]

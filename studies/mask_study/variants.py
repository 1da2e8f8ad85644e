"""What is compared: methods, and one change of a choice at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from denseclip.engine.config import OptionError

_NAME = 'configs/miniworld/{}_vit-xs8_miniworld-96x96.py'


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: Its name.
        method: Config, ``fcclip``, ``maft-plus``, ``pmp-fcclip`` or ``pmp-maft-plus``.
        about: What is special about it.
        model: Changes of the config's ``model``, by dotted key.
        starts_from: Variant whose weights of the same seed it starts from.
        only_test: Test the weights that it starts from, and train nothing.
        group: ``'methods'`` or what is varied.
    """

    name: str
    method: str
    about: str
    model: Mapping[str, Any] = field(default_factory=dict)
    starts_from: str | None = None
    only_test: bool = False
    group: str = 'methods'

    @property
    def config(self) -> str:
        """Config file, relative to the repository."""
        return _NAME.format(self.method)


def _pmp(name: str, about: str, group: str, **changes: Any) -> Variant:
    model = {key.replace('__', '.'): value for key, value in changes.items()}
    return Variant(f'pmp-fcclip/{name}', 'pmp-fcclip', about, model, group=group)


def _tested(name: str, about: str, **changes: Any) -> Variant:
    model = {key.replace('__', '.'): value for key, value in changes.items()}
    return Variant(f'pmp-fcclip/{name}', 'pmp-fcclip', about, model, 'pmp-fcclip', True, 'inference')


_ALL = (
    Variant('fcclip', 'fcclip', 'frozen CLIP'),
    Variant('maft-plus', 'maft-plus', 'CLIP learns with the masks'),
    Variant('pmp-fcclip', 'pmp-fcclip', 'FC-CLIP, masks guided by prompts'),
    Variant('pmp-maft-plus', 'pmp-maft-plus', 'MAFT+, masks guided by prompts'),
    _pmp('word', 'a token per word piece', 'tokens', prompts__tokens='word'),
    _pmp('after-image', 'text after the image', 'position', prompt_guide__position='after_image'),
    _pmp('after-self', 'text after self-attention', 'position', prompt_guide__position='after_self'),
    _pmp('text-update', 'tokens look at the queries too', 'position', prompt_guide__text_update=True),
    _pmp('first-layer', 'text in the first layer only', 'position', prompt_guide__layers=[0]),
    _pmp('post-norm', 'no gate, norm after the sum', 'norm', prompt_guide__norm='post'),
    _pmp('full', 'always all training classes', 'prompts', prompts__sampler=dict(mode='full')),
    _pmp('positive-only', 'only the classes that are there', 'prompts', prompts__sampler=dict(mode='positive_only')),
    _pmp('mean-names', 'mean of all names in training', 'prompts', prompts__sampler=dict(synonyms='mean')),
    _pmp('attention-loss', 'queries are drawn to what is there', 'loss', prompts__attention_loss=0.5),
    Variant('fcclip/longer', 'fcclip', 'FC-CLIP trained once more', starts_from='fcclip', group='start'),
    Variant('pmp-fcclip/tuned', 'pmp-fcclip', 'PMP from a trained FC-CLIP', starts_from='fcclip', group='start'),
    Variant(
        'pmp-fcclip/frozen-host',
        'pmp-fcclip',
        'PMP beside a trained, frozen FC-CLIP',
        {'freeze_host': True},
        'fcclip',
        group='start',
    ),
    _tested('chunks', 'prompts of 8 classes at a time', prompts__inference='chunk', prompts__chunk=8),
    _tested('per-prompt', 'one prompt at a time', prompts__inference='per_prompt'),
)
VARIANTS: Mapping[str, Variant] = {variant.name: variant for variant in _ALL}
"""All rows by name."""


def chosen(names: Sequence[str]) -> list[Variant]:
    """Variants by name or by group (``methods``, ``tokens``, ``position`` ...), with those that they start from.

    Args:
        names: Names and groups; ``'all'`` is everything.

    Raises:
        OptionError: If there is no such name.
    """
    groups = {variant.group for variant in _ALL}
    wanted: set[str] = set()
    for name in names:
        if name != 'all' and name not in groups and name not in VARIANTS:
            raise OptionError(
                f"no variant or group is called '{name}'; groups: all, {', '.join(sorted(groups))}; variants: "
                f'{", ".join(VARIANTS)}'
            )
        wanted |= {v.name for v in _ALL if name in ('all', v.group, v.name)}
    wanted |= {base for name in wanted if (base := VARIANTS[name].starts_from)}
    return [variant for variant in _ALL if variant.name in wanted]

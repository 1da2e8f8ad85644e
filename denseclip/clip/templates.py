"""Sentences that class names are put into before they are encoded."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable

_VILD = (
    'a photo of a {}.',
    'This is a photo of a {}',
    'There is a {} in the scene',
    'There is the {} in the scene',
    'a photo of a {} in the scene',
    'a photo of a small {}.',
    'a photo of a medium {}.',
    'a photo of a large {}.',
    'This is a photo of a small {}.',
    'This is a photo of a medium {}.',
    'This is a photo of a large {}.',
    'There is a small {} in the scene.',
    'There is a medium {} in the scene.',
    'There is a large {} in the scene.',
)
_IN_THE_SCENE = (
    'there is a {} in the scene.',
    'there is the {} in the scene.',
    'this is a {} in the scene.',
    'this is the {} in the scene.',
    'this is one {} in the scene.',
)
_TCL = (
    'itap of a {}.',
    'a bad photo of a {}.',
    'a origami {}.',
    'a photo of the large {}.',
    'a {} in a video game.',
    'art of the {}.',
    'a photo of the small {}.',
)
_SETS = {
    'plain': ('{}',),
    'photo': ('a photo of a {}.',),
    'laion': ('a photo of a {}', 'a photo of an {}'),
    'vild': _VILD,
    'tcl': _TCL,
}


@functools.cache
def template_sets() -> dict[str, tuple[str, ...]]:
    """All named sets.

    ``plain`` the bare name (DenseCLIP); ``photo`` one sentence; ``laion`` two articles (CLIP-DINOiser); ``vild`` the 14
    sentences of ViLD as FC-CLIP and MAFT+ use them; ``openai_imagenet`` the 80 and ``openai_simple`` the 7 sentences of
    CLIP's ImageNet evaluation; ``tcl`` those 7 as TCL, FreeDA and Talk2DINO write them; ``maskclip`` those 80 and five
    about a scene, as MaskCLIP's code.
    """
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

    imagenet = tuple(template('{}') for template in OPENAI_IMAGENET_TEMPLATES)
    return {
        **_SETS,
        'openai_imagenet': imagenet,
        'maskclip': imagenet + _IN_THE_SCENE,
        'openai_simple': tuple(template('{}') for template in SIMPLE_IMAGENET_TEMPLATES),
    }


def resolve_templates(templates: str | Iterable[str]) -> tuple[str, ...]:
    """Sentences from a set's name, from one sentence with ``{}``, or from several.

    Raises:
        ValueError: If a name is unknown (the nearest is suggested) or a sentence has no place for the name.
    """
    if isinstance(templates, str):
        if templates in _SETS:
            return _SETS[templates]
        if '{}' not in templates:
            sets = template_sets()
            if templates in sets:
                return sets[templates]
            near = difflib.get_close_matches(templates, sets, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f'known: {", ".join(sets)}.'
            raise ValueError(f"no template set is called '{templates}'; {hint}")
        templates = (templates,)
    sentences = tuple(templates)
    bad = [t for t in sentences if t.count('{}') != 1]
    if bad or not sentences:
        raise ValueError(f"a template needs exactly one '{{}}' for the class name: {bad or 'none given'}.")
    return sentences


def fill(template: str, name: str) -> str:
    """Put a name into a sentence. The name is text, never a format string: braces in it stay as they are."""
    return template.replace('{}', name)

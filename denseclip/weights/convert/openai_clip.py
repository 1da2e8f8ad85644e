"""OpenAI CLIP (and open_clip) state dicts taken apart for one tower, with position tables fitted to another size.

Source: OpenAI CLIP; DenseCLIP's ``init_weights`` (bilinear resize of image positions, first rows of text positions).
"""

from __future__ import annotations

from torch import Tensor

from ..errors import WeightMismatchError
from ..io import strip_prefix
from ..positions import resize_positions
from .registry import Converter, State, register

# Integers that OpenAI's archives keep beside the weights; they describe the model and are no parameters.
ARCHIVE_NUMBERS = ('input_resolution', 'context_length', 'vocab_size')
_TEXT_PARTS = ('transformer.', 'token_embedding.', 'positional_embedding', 'ln_final.', 'text_projection')
_IMAGE_POSITIONS = ('positional_embedding', 'attnpool.positional_embedding')


def forward(
    state: State,
    part: str = 'all',
    grid: tuple[int, int] | None = None,
    context_length: int | None = None,
) -> dict[str, Tensor]:
    """Take the image tower, the text tower, or both out of a CLIP state dict.

    Args:
        state: OpenAI's or open_clip's names (``visual.*`` and text names, bare or under ``text.``).
        part: ``'visual'`` and ``'text'`` drop their prefix; ``'all'`` keeps every name.
        grid: Resize the image positions to this grid (``part='visual'`` only).
        context_length: Keep the first rows of the text positions (``part='text'`` only).

    Returns:
        The part, without the three integers that OpenAI's archives add.

    Raises:
        ValueError: If the part is unknown, or the text tower has fewer positions.
        WeightMismatchError: If there is no text tower and ``part='text'``.
    """
    if part == 'all':
        return {k: v for k, v in state.items() if k not in ARCHIVE_NUMBERS}
    if part == 'visual':
        visual = strip_prefix(state, 'visual.')
        for key in _IMAGE_POSITIONS:
            if grid is not None and key in visual:
                visual[key] = resize_positions(visual[key], grid)
        return visual
    if part != 'text':
        raise ValueError(f"part must be 'all', 'visual' or 'text', not '{part}'")
    text = strip_prefix(state, 'text.') or {k: v for k, v in state.items() if k.startswith(_TEXT_PARTS)}
    if not text:
        raise WeightMismatchError(f'no text tower of CLIP: found {", ".join(list(state)[:5]) or "nothing"} ...')
    if context_length is not None:
        have = text['positional_embedding'].shape[0]
        if have < context_length:
            raise ValueError(f'the text tower knows {have} positions; a context of {context_length} needs more.')
        text['positional_embedding'] = text['positional_embedding'][:context_length]
    return text


register('openai_clip', Converter(forward, None, 'OpenAI CLIP and open_clip state dicts, whole or one tower'))

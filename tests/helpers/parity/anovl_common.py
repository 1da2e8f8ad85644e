"""What the checks of AnoVL share: tolerances written as text, folded tokens, small CLIPs, files of other fixtures."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
from open_clip import SimpleTokenizer
from safetensors.torch import load_file
from torch import Tensor

from denseclip.clip.loading import LoadedCLIP, build_clip, fit_state
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.weights import load_into

from .fixtures import Fixture

_NUMBER = r'(\d+(?:\.\d+)?e-?\d+)'


class FoldedTokenizer:
    """CLIP's tokens folded into a small vocabulary, as the fixtures' manifests describe it."""

    pad_id = 0

    def __init__(self, vocab_size: int) -> None:
        self.size = vocab_size
        self.clip = SimpleTokenizer()
        self.identity = f'folded {vocab_size}'

    def __call__(self, text: str) -> list[int]:
        return [self.size - 2, *(1 + i % (self.size - 3) for i in self.clip.encode(text)), self.size - 1]

    def shorten(self, ids: list[int], length: int) -> list[int]:
        return [*ids[: length - 1], ids[-1]]


def with_tolerances(fixture: Fixture) -> Fixture:
    """The fixture with its tolerance as numbers; its text is ``'1e-5 abs/rel'``, ``'1e-6'`` or a list of clauses."""
    text = fixture.manifest['tolerance']
    if not isinstance(text, str):
        return fixture
    if match := re.match(_NUMBER, text):
        value = float(match.group(1))
        table: dict[str, Any] = {'atol': value, 'rtol': value if 'abs/rel' in text else 0.0}
    else:
        table = dict(_clause(text, words) for words in ('anomaly_map', 'preprocessed', 'tokens', 'adapter'))
        maps = table['out.anomaly_map']
        table.update({f'out.{name}': maps for name in ('image_score', 'view_image_probs', 'losses')})
        table['out.gt_mask'] = table['out.preprocessed']
        table['metrics'] = _clause(text, 'metrics')[1]
    fixture.manifest = {**fixture.manifest, 'tolerance': table}
    return fixture


def _clause(text: str, word: str) -> tuple[str, dict[str, float]]:
    match = re.search(rf'{word}[^;]*?{_NUMBER}', text)
    assert match, f'no tolerance for {word} in {text!r}'
    return f'out.{word}', {'atol': float(match.group(1)), 'rtol': 0.0}


def other_tensors(fixture: Fixture, what: str) -> dict[str, Tensor]:
    """Tensors of the file that a manifest entry such as ``'text_tower.safetensors (sd.*)'`` names."""
    name = fixture.config[what].split()[0]
    assert fixture.tensor_file is not None
    return load_file(str(fixture.tensor_file.with_name(name)))


def weights_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix('sd.'): v for k, v in tensors.items() if k.startswith('sd.')}


def small_clip(config: dict[str, Any], state: dict[str, Tensor]) -> LoadedCLIP:
    """A CLIP of the suite with a fixture's weights, loaded as weight files are; what is missing stays fresh.

    Args:
        config: ``embed_dim``, ``vision_cfg`` and ``text_cfg``; one of the last two may be missing.
        state: Weights under open_clip's names.
    """
    size = dict(layers=1, width=8)
    full = {
        'embed_dim': config['embed_dim'],
        'vision_cfg': config.get('vision_cfg', dict(size, image_size=8, patch_size=8, head_width=8)),
        'text_cfg': config.get('text_cfg', dict(size, heads=1, vocab_size=16, context_length=4)),
    }
    for part in ('vision_cfg', 'text_cfg'):
        full[part] = {k: tuple(v) if isinstance(v, list) else v for k, v in full[part].items()}
    model = build_clip(full)
    missing = {k: v for k, v in model.state_dict().items() if k not in state}
    absent = ('transformer.', 'token_', 'positional', 'ln_final', 'text_', 'logit_scale')
    allowed = absent if 'text_cfg' not in config else ('visual.', 'logit_scale') if 'vision_cfg' not in config else ()
    assert all(key.startswith(allowed) for key in missing) if missing else True, sorted(missing)
    load_into(model, fit_state(model, {**missing, **state}), source='fixture')
    spec = PreprocessSpec.of({}, size=model.visual.image_size)
    loaded = LoadedCLIP(model.eval(), replace(spec, interpolation='bilinear'), 'fixture', full)
    loaded.tokenizer = FoldedTokenizer(full['text_cfg']['vocab_size'])
    return loaded


def rows_first(prompts: Tensor) -> Tensor:
    """The authors' prompt embeddings (P, E, 2) as rows, the normal ones first: (2 P, E)."""
    return torch.cat([prompts[..., 0], prompts[..., 1]])

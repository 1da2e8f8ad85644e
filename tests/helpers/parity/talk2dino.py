"""Talk2DINO: DINOv2 as its authors run it, and words in its space."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tiny_text_clip import tiny_text_clip

from denseclip.clip.dino_text import talk2dino
from denseclip.clip.loading import LoadedCLIP
from denseclip.clip.presets import preset
from denseclip.clip.text import MappedTextTower
from denseclip.clip.towers import DenseReadOut
from denseclip.models.functional.open_vocab import cosine_scores
from denseclip.weights import strip_prefix

from .fixtures import Fixture
from .registry import consumes


def model_of(fixture: Fixture) -> LoadedCLIP:
    """The model from the authors' tensors, by the code that users call."""
    state = fixture.state()
    with TemporaryDirectory() as name:
        place = Path(name)
        save_file(strip_prefix(state, 'dino.'), place / 'dino.safetensors')
        tiny_text_clip(place / 'clip', fixture.input('sentences').shape[-1])
        base = f'local-dir:{place / "clip"}'
        return talk2dino(strip_prefix(state, 'mapping.'), place / 'dino.safetensors', base=base)


@consumes('training_free', 'talk2dino')
@torch.no_grad()
def check_talk2dino(fixture: Fixture) -> None:
    """Patches of both shapes, text from embeddings of sentences, and the maps that its code resizes."""
    loaded, sentences = model_of(fixture), fixture.input('sentences')
    text = loaded.text_tower()
    assert isinstance(text, MappedTextTower)
    text.tower.encode = lambda *_: sentences.flatten(0, 1)  # type: ignore[method-assign]
    names = text.encode_sets([''] * sentences[..., 0].numel(), len(sentences))
    fixture.expect('text', names)
    tower = loaded.image_tower(DenseReadOut(pooled=False, **preset('talk2dino').read_out))
    mean, std = (torch.tensor(v)[:, None, None] for v in (loaded.preprocess.mean, loaded.preprocess.std))
    for match in list(fixture.outputs(r'dense_([a-z]+)')):
        shape = match.group(1)
        dense = tower((fixture.input(f'pixels_{shape}').float() / 255 - mean) / std).dense
        fixture.expect(match.group(), dense.flatten(2).transpose(1, 2))
        if not fixture.has(f'out.cosines_{shape}'):
            continue
        cosines = cosine_scores(dense, names)
        fixture.expect(f'cosines_{shape}', cosines)
        size, corners = fixture.input(f'pixels_{shape}').shape[-2:], fixture.config['align_corners']
        masks = F.interpolate(cosines.sigmoid(), size, mode='bilinear', align_corners=corners)
        fixture.expect(f'masks_{shape}', masks)

"""dino.txt on DINOv2 (three files) and on DINOv3 (two files)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file

from denseclip.clip.family import read_family
from denseclip.clip.loading import LoadedCLIP
from denseclip.clip.presets import preset
from denseclip.clip.towers import DenseReadOut
from denseclip.weights import strip_prefix

from .fixtures import Fixture
from .registry import consumes


def model_of(fixture: Fixture, version: str) -> LoadedCLIP:
    """The model from files of the authors' layout, by the code that users call."""
    state = strip_prefix(fixture.state(), f'{version}.')
    with TemporaryDirectory() as name:
        files = {}
        for part in ('dino', 'head', 'text', 'both'):
            tensors = strip_prefix(state, f'{part}.')
            if tensors:
                files[part] = Path(name) / f'{part}.safetensors'
                save_file(tensors, files[part])
        return read_family(files.get('both') or files['head'], base=files.get('text'), dino=files['dino'])


@consumes('training_free', 'dinotxt')
@torch.no_grad()
def check_dinotxt(fixture: Fixture) -> None:
    """Second halves of text and image embeddings, and patches of both shapes."""
    for match in list(fixture.outputs(r'text_(v\d)')):
        version = match.group(1)
        loaded = model_of(fixture, version)
        fixture.expect(match.group(), loaded.text_tower().encode_tokens(fixture.input('tokens'))[0])
        tower = loaded.image_tower(DenseReadOut(**{**preset('dinotxt').read_out, 'pooled': True}))
        mean, std = (torch.tensor(v)[:, None, None] for v in (loaded.preprocess.mean, loaded.preprocess.std))
        for shape in ('square', 'wide'):
            found = tower((fixture.input(f'pixels_{shape}').float() / 255 - mean) / std)
            fixture.expect(f'dense_{version}_{shape}', found.dense.flatten(2).transpose(1, 2))
            fixture.expect(f'pooled_{version}_{shape}', found.pooled)

"""Fixtures of further methods."""

from __future__ import annotations

import torch.nn.functional as F

from denseclip.clip.text import CLIPTextTower

from .fixtures import Fixture
from .registry import consumes


@consumes('long_clip', 'tokens')
def check_tokens(fixture: Fixture) -> None:
    """CLIP's tokens of long sentences; a cut one ends with the end token."""
    length = fixture.config['context_length']
    tower = CLIPTextTower.create(context_length=length, width=8, heads=1, layers=1, embed_dim=4)
    texts = fixture.manifest['data']['texts']
    tokens = tower.tokenize(texts, length, truncate=fixture.config['truncate'])
    fixture.expect('ids', F.pad(tokens, (0, length - tokens.shape[1])))

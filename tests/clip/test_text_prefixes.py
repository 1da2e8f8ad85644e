"""Texts that begin alike share what is alike, and their embeddings stay what they were."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from denseclip.clip.text import CLIPTextTower
from denseclip.clip.text.prefixes import Beginnings, can_share
from denseclip.core.regions import RegionCompiler, release_regions, run_regions

NONE = torch.zeros(1, 0, 16)
"""Contexts of no tokens: with them all tokens of all texts go through all blocks."""
TEXTS = ['a photo of a cat', 'a photo of a dog with a hat', 'a photo of', 'a photo of a cat', 'road', 'a cat photo']


def made(layers=3, **settings):
    torch.manual_seed(0)
    return CLIPTextTower.create(context_length=13, width=16, heads=2, layers=layers, embed_dim=8, **settings).eval()


@torch.no_grad()
@pytest.mark.parametrize('layers', [1, 2, 5])
@pytest.mark.parametrize('padding', [0, 2])
def test_embeddings_are_those_of_texts_run_one_by_one(layers, padding):
    tower = made(layers)
    tokens = torch.nn.functional.pad(tower.tokenize(TEXTS), (0, padding))
    found = tower.encode_tokens(tokens)
    assert torch.allclose(found, tower.encode_tokens(tokens, NONE), atol=1e-5)
    assert torch.allclose(found[0], torch.cat([tower.encode_tokens(row[None])[0] for row in tokens]), atol=1e-5)
    assert torch.equal(found[0, 0], found[0, 3])


def test_beginnings_are_the_distinct_ones():
    tokens = torch.tensor([[7, 1, 2, 9], [7, 1, 9, 0], [7, 1, 2, 9], [7, 2, 9, 0]])
    texts = Beginnings.of(tokens, torch.tensor([3, 2, 3, 2]))
    rows = [tuple(row[: end + 1].tolist()) for row, end in zip(tokens, [3, 2, 3, 2], strict=True)]
    assert len(texts.tokens) == len({row[:n] for row in rows for n in range(1, len(row) + 1)}) == 7
    at = texts.of_text[texts.inside]
    assert torch.equal(texts.tokens[at], tokens[texts.inside])
    assert torch.equal(texts.positions[at], torch.arange(4).expand(4, -1)[texts.inside])
    assert torch.equal(texts.of_text.flatten()[texts.places], torch.arange(7))
    assert texts.ends.tolist() == [texts.of_text[0, 3], texts.of_text[1, 2], texts.of_text[0, 3], texts.of_text[3, 2]]


@torch.no_grad()
def test_what_is_alike_is_computed_once():
    tower = made()
    counts = []
    for texts in (['a photo of a cat'], ['a photo of a cat'] * 50, ['a photo of a cat', 'a photo of a dog']):
        with FlopCounterMode(display=False) as counter:
            tower.encode(texts)
        counts.append(sum(counter.flop_counts['Global'][op] for op in (torch.ops.aten.addmm, torch.ops.aten.mm)))
    assert counts[1] < 4 * counts[0]  # fifty ends in the last block
    assert counts[2] < 1.6 * counts[0]


def test_training_and_graphs_run_all_tokens():
    tower = made()
    blocks, tokens = tower.transformer.resblocks, tower.tokenize(TEXTS)
    assert not can_share(blocks, tokens)
    tower.encode_tokens(tokens).sum().backward()
    assert tower.token_embedding.weight.grad is not None
    with torch.no_grad():
        assert can_share(blocks, tokens)
        assert not can_share(blocks, tokens.to('meta'))
        run_regions(blocks, RegionCompiler('eager'), forward=False)
        assert not can_share(blocks, tokens)
        release_regions(tower)
        assert can_share(blocks, tokens)
    with pytest.raises(ValueError, match='do not fit'), torch.no_grad():
        tower.encode_tokens(torch.ones(1, 20, dtype=torch.long))

"""Class embeddings: prompts, synonyms, and when they are computed anew."""

import copy
import pickle

import pytest
import torch
from torch import nn

from denseclip.clip.text import PromptTooLongError
from denseclip.models.text_encoders import CLIPTextContextEncoder
from denseclip.models.text_encoders.class_text import ClassText

SIZES = dict(context_length=13, embed_dim=6, transformer_width=8, transformer_heads=2, transformer_layers=1)


class Counting(CLIPTextContextEncoder):
    """Counts its passes and remembers how many prompts they had."""

    def __init__(self, frozen=True):
        super().__init__(**SIZES, frozen=frozen)
        self.passes = []

    def forward(self, tokens, contexts=None):
        self.passes.append(tokens.shape[0])
        return super().forward(tokens, contexts)


def make(vocabulary='wall; sky; bus', frozen=True, **kwargs):
    torch.manual_seed(0)
    encoder, text = Counting(frozen), ClassText(**kwargs)
    text.set_vocabulary(vocabulary, encoder)
    return text, encoder


@pytest.fixture
def contexts():
    return nn.Parameter(torch.randn(1, 4, 8))


def test_eval_encodes_once_bit_equal_to_encoding_every_time(contexts):
    text, encoder = make()
    text.eval()
    with torch.no_grad():
        cached = [text(encoder, contexts) for _ in range(3)]
        assert len(encoder.passes) == 1
        text.caching = False
        fresh = [text(encoder, contexts) for _ in range(3)]
    assert len(encoder.passes) == 4
    assert all(torch.equal(one, cached[0]) for one in cached + fresh)


CHANGES = {
    'contexts': lambda text, encoder, contexts: contexts.add_(1),
    'weight': lambda text, encoder, contexts: encoder.tower.ln_final.bias.add_(1),
    'train and eval': lambda text, encoder, contexts: text.train().eval(),
    'load_state_dict': lambda text, encoder, contexts: text.load_state_dict({}),
    'vocabulary': lambda text, encoder, contexts: text.set_vocabulary('tree; car', encoder),
    'dtype': lambda text, encoder, contexts: (text.double(), encoder.double()),
}


@pytest.mark.parametrize('change', CHANGES)
@torch.no_grad()
def test_anything_that_matters_encodes_anew(change, contexts):
    text, encoder = make()
    text.eval()
    text(encoder, contexts)
    CHANGES[change](text, encoder, contexts)
    text(encoder, contexts.to(next(encoder.parameters()).dtype))
    assert len(encoder.passes) == 2


@torch.no_grad()
def test_autocast_has_its_own_embeddings(contexts):
    text, encoder = make()
    text.eval()
    text(encoder, contexts)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        text(encoder, contexts)
    assert len(encoder.passes) == 2


def test_gradients_switch_the_cache_off(contexts):
    text, encoder = make()
    text.eval()
    with torch.no_grad():
        text(encoder, contexts)
    text(encoder, contexts).sum().backward()
    assert contexts.grad.any()


def test_frozen_text_without_contexts_is_kept_while_training():
    text, encoder = make()
    text.train()
    assert torch.equal(text(encoder), text(encoder))
    assert len(encoder.passes) == 1
    text, encoder = make(frozen=False)
    text.train()
    text(encoder), text(encoder)
    assert len(encoder.passes) == 2


def test_embeddings_cached_under_inference_mode_can_be_trained_with(contexts):
    text, encoder = make()
    with torch.inference_mode():
        text(encoder)
    head = nn.Linear(6, 1)
    head(text(encoder)).sum().backward()
    assert head.weight.grad is not None


def test_image_specific_contexts_are_never_cached():
    text, encoder = make()
    text.eval()
    with torch.no_grad():
        first, second = (text(encoder, torch.randn(2, 4, 8), shared=False) for _ in range(2))
    assert first.shape == (2, 3, 6) and not torch.equal(first, second)


def test_synonyms_and_templates_make_one_embedding_per_class():
    text, encoder = make('wall; car = automobile, auto', templates=['{}', 'a {}'])
    assert text.tokens.shape[0] == 8 and text.num_classes == 2
    assert text(encoder).shape == (1, 2, 6)


@pytest.mark.parametrize('frozen', [True, False])
def test_sampling_takes_one_prompt_per_class_while_training(frozen):
    text, encoder = make('wall; car = automobile, auto', frozen=frozen, sampling=True)
    text.train()
    prompts = encoder(text.tokens)[0]
    encoder.passes.clear()
    seen = set()
    for _ in range(30):
        wall, car = text(encoder)[0]
        torch.testing.assert_close(wall, prompts[0])
        match = [i for i in range(1, 4) if torch.allclose(car, prompts[i], atol=1e-5)]
        assert len(match) == 1
        seen.update(match)
    assert seen == {1, 2, 3}
    assert encoder.passes == [4] if frozen else set(encoder.passes) == {2}
    text.eval()
    with torch.no_grad():
        assert torch.equal(text(encoder), text(encoder))


def test_sampling_repeats_with_the_seed():
    text, encoder = make('wall = brick, mortar; car = automobile, auto', sampling=True)
    text.train()
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append([text(encoder) for _ in range(5)])
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


def test_background_prompts_are_one_more_class():
    text, encoder = make(dict(classes=['wall', 'sky'], background='prompts', background_names=['thing', 'stuff']))
    assert text(encoder).shape == (1, 3, 6)


def test_long_names_are_named():
    with pytest.raises(PromptTooLongError, match='very long name'):
        make('a very long name of a class')
    make('a very long name of a class', context_length=None)


def test_names_with_braces_are_plain_text():
    text, _ = make('{}; a{b}', templates='see {}', context_length=None)
    assert text.num_classes == 2


def test_adds_nothing_to_the_state_dict_and_can_be_copied():
    text, encoder = make()
    assert not text.state_dict()
    twin = pickle.loads(pickle.dumps(copy.deepcopy(text)))
    assert torch.equal(twin(encoder), text(encoder))

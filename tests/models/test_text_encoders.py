"""Text encoders with DenseCLIP's call."""

import pytest
import torch
from parity.torchscript import write_torchscript

from denseclip.models.text_encoders import CLIPTextContextEncoder, SentenceTextContextEncoder
from denseclip.weights import load_into

SIZES = dict(embed_dim=6, transformer_width=8, transformer_heads=2, transformer_layers=2)


def clip_text(**kwargs):
    return CLIPTextContextEncoder(**{**SIZES, 'context_length': 9, **kwargs})


@pytest.fixture(scope='module')
def sentence():
    return SentenceTextContextEncoder()


def test_contexts_per_image_equal_one_image_at_a_time():
    torch.manual_seed(0)
    encoder, contexts = clip_text(), torch.randn(3, 4, 8)
    tokens = encoder.tokenize(['wall', 'traffic light'], max_length=5)
    together = encoder(tokens, contexts)
    assert together.shape == (3, 2, 6)
    for i in range(3):
        torch.testing.assert_close(encoder(tokens, contexts[i : i + 1])[0], together[i], rtol=1e-4, atol=1e-6)


def test_padding_changes_nothing():
    encoder, contexts = clip_text(), torch.randn(1, 4, 8)
    tokens = encoder.tokenize(['wall'], max_length=5)
    padded = torch.nn.functional.pad(tokens, (0, 5 - tokens.shape[1]))
    torch.testing.assert_close(encoder(padded, contexts), encoder(tokens, contexts))


@pytest.mark.parametrize('frozen', [True, False])
def test_frozen_text_lets_gradients_through_to_the_contexts(frozen):
    encoder, contexts = clip_text(frozen=frozen).train(), torch.randn(1, 4, 8, requires_grad=True)
    encoder(encoder.tokenize(['wall']), contexts).sum().backward()
    assert contexts.grad.any()
    assert encoder.tower.training is not frozen
    assert any(p.grad is not None for p in encoder.parameters()) is not frozen


def test_loads_the_text_half_and_cuts_positions(tmp_path):
    whole = clip_text(context_length=20)
    state = {key: torch.randn_like(value) for key, value in whole.tower.state_dict().items()}
    extra = {'visual.conv1.weight': torch.zeros(2), 'logit_scale': torch.zeros(())}
    file = write_torchscript({**state, **extra}, tmp_path / 'clip.pt', half=False)
    encoder = clip_text(pretrained=file)
    encoder.init_weights()
    assert torch.equal(encoder.tower.positional_embedding, state['positional_embedding'][:9])
    assert torch.equal(encoder.tower.text_projection, state['text_projection'])


def test_sizes_come_from_the_architecture():
    with torch.device('meta'):
        encoder = CLIPTextContextEncoder('ViT-B-16')
    assert (encoder.embed_dim, encoder.width, encoder.tower.context_length) == (512, 512, 13)
    with pytest.raises(ValueError, match='xlm-roberta'):
        CLIPTextContextEncoder('xlm-roberta-base-ViT-B-32')


def test_sentence_weights_stay_out_of_checkpoints(sentence):
    assert not sentence.state_dict()
    assert sentence.not_saved_prefixes == ('tower.',)
    before = next(sentence.tower.parameters()).clone()
    assert not any(sentence.load_state_dict({}, strict=True))
    load_into(sentence, {})
    assert torch.equal(next(sentence.tower.parameters()), before)


def test_sentence_weights_that_are_trained_are_saved():
    trained = SentenceTextContextEncoder(frozen=False, load_weights=False)
    assert len(trained.state_dict()) == len(list(trained.parameters()))


def test_sentence_encoder_is_deterministic_while_training(sentence):
    tokens = sentence.train().tokenize(['car', 'automobile', 'sky'])
    first, second = sentence(tokens), sentence(tokens)
    assert torch.equal(first, second) and first.shape == (1, 3, sentence.embed_dim)
    near, far = torch.nn.functional.cosine_similarity(first[0, :1], first[0, 1:])
    assert near > far

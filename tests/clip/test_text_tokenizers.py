"""Tokenizers: same ids as open_clip, nothing cut."""

import json

import open_clip
import pytest

from denseclip.clip.text import BPETokenizer, FileTokenizer, wrap_tokenizer
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
    rust = tokenizers.Tokenizer(tokenizers.models.WordLevel({'[PAD]': 0, '[S]': 1, '[E]': 2, '[U]': 3, 'road': 4}, '[U]'))
    rust.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    rust.post_processor = tokenizers.processors.TemplateProcessing('[S] $A [E]', special_tokens=[('[S]', 1), ('[E]', 2)])
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

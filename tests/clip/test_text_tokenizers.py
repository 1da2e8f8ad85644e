"""Tokenizers: same ids as open_clip, nothing cut."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path

import open_clip
import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import HFTokenizer

from denseclip.clip.small_bpe import small_tokenizer
from denseclip.clip.text import (
    BPETokenizer,
    CLIPTextTower,
    FileTokenizer,
    HubTokenizer,
    default_tokenizer,
    wrap_tokenizer,
)
from denseclip.clip.text.tokenizers import default_bpe, fill

TEXTS = ['wall', 'chest of drawers', "it's a dog's bowl", 'naïve  café', '日本語', 'rock &amp; roll', '', 'a {} sign']

CLEANING = ('lower', 'whitespace', 'canonicalize')
"""open_clip's rules of what a text is cleaned by."""


@functools.cache
def tokenizer_of(clean):
    return open_clip.tokenizer.SimpleTokenizer(clean=clean)


@pytest.mark.parametrize('text', TEXTS)
def test_bpe_equals_open_clip(text):
    tokenizer = BPETokenizer()
    ids = tokenizer(text)
    padded = open_clip.tokenize([text])[0].tolist()
    assert ids + [0] * (77 - len(ids)) == padded
    assert tokenizer.shorten(ids * 3, 4)[-1] == ids[-1] == 49407


def texts_up_to(last):
    """Lists of words whose characters lie below a code point."""
    return st.lists(st.text(st.characters(max_codepoint=last, min_codepoint=32), max_size=12), max_size=4)


@given(texts_up_to(126) | texts_up_to(300), st.sampled_from(CLEANING))
@settings(max_examples=100, deadline=None)
def test_texts_by_their_words_are_open_clips(words, clean):
    """Plain texts, and those with special tokens, entities or accents."""
    tokenizer = tokenizer_of(clean)
    for text in (' '.join(words), ' '.join([*words, "<end_of_text>it's a_B", '&amp;lt;']), ' '.join(words) * 2):
        assert BPETokenizer(tokenizer)(text)[1:-1] == tokenizer.encode(text)


def test_wrapping_keeps_the_cleaning_rule():
    plain = default_bpe()
    canonical = open_clip.tokenizer.SimpleTokenizer(clean='canonicalize')
    assert wrap_tokenizer(plain)('traffic-light!') != wrap_tokenizer(canonical)('traffic-light!')
    assert wrap_tokenizer(plain).identity != wrap_tokenizer(canonical).identity


@pytest.fixture
def word_file(tmp_path):
    """A word-level tokenizer.json that asks for truncation and padding, as sentence encoders' files do."""
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


WORDS = ['a', 'photo', 'of', 'the', 'road', 'sky', 'cafe', '##s', '!', ',', 'dog', "'"]
SPECIAL = dict(
    pad_token='[PAD]', unk_token='[UNK]', sep_token='[SEP]', cls_token='[CLS]', bos_token='[B]', eos_token='[E]'
)


def hub_folder(tmp_path: Path, kind: str) -> Path:
    """A small tokenizer of transformers, saved as in a hub folder.

    Args:
        tmp_path: The folder.
        kind: ``'bert'``: [CLS] pieces [SEP], padded with 0. ``'t5'``: pieces [E], padded with the end token.
            ``'language'``: a language before and the end token and the language behind (NLLB's old order).
            ``'left'``: padded at the front.
    """
    vocabulary = {token: number for number, token in enumerate([*SPECIAL.values(), 'en', 'de', *WORDS])}
    rust = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token='[UNK]'))
    rust.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    rust.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    template = {'bert': '[CLS] $A [SEP]', 'left': '[CLS] $A [SEP]', 't5': '$A [E]', 'language': '$A [E] en'}[kind]
    specials = [(token, vocabulary[token]) for token in (*SPECIAL.values(), 'en', 'de')]
    rust.post_processor = tokenizers.processors.TemplateProcessing(template, special_tokens=specials)
    names = {**SPECIAL, 'pad_token': '[E]'} if kind == 't5' else SPECIAL
    side = 'left' if kind == 'left' else 'right'
    transformers.PreTrainedTokenizerFast(tokenizer_object=rust, padding_side=side, **names).save_pretrained(tmp_path)
    return tmp_path


TOKENIZERS = {
    'plain': ('bert', {}),
    'canonical': ('bert', dict(clean='canonicalize')),
    'CLIPA': ('bert', dict(strip_sep_token=True)),
    'CLIPS': ('bert', dict(tokenizer_mode='clips')),
    'SigLIP': ('t5', dict(clean='canonicalize')),
    'language': ('language', {}),
    'left': ('left', {}),
}


@pytest.mark.parametrize('name', TOKENIZERS)
def test_hub_tokenizers_give_open_clips_ids_at_every_length(tmp_path: Path, name: str) -> None:
    """Texts shorter than the context, just as long, and longer: padded or cut as open_clip does."""
    kind, options = TOKENIZERS[name]
    theirs = HFTokenizer(str(hub_folder(tmp_path, kind)), context_length=10, **options)
    ours = HubTokenizer(theirs)
    texts = [
        '',
        'road',
        'A photo, of the SKY!',
        "the dog's cafes",
        'zebra',
        *(' '.join(['dog'] * n) for n in range(14)),
    ]
    for text in texts:
        ids = ours(text)
        ids = ids if len(ids) <= 10 else ours.shorten(ids, 10)
        assert fill(ours, ids, 10) == theirs([text], context_length=10)[0].tolist(), text


def test_a_prompt_just_too_long_is_said_with_a_separator_that_is_not_seen(tmp_path: Path) -> None:
    """CLIPA's separator is a 0, like its padding, and yet takes a place."""
    ours = HubTokenizer(HFTokenizer(str(hub_folder(tmp_path, 'bert')), strip_sep_token=True))
    assert ours('dog dog') == [3, 18, 18, 0]


def test_identity_differs_wherever_ids_may(tmp_path: Path) -> None:
    bert, t5 = hub_folder(tmp_path / 'bert', 'bert'), hub_folder(tmp_path / 't5', 't5')
    other = hub_folder(tmp_path / 'other', 'bert')
    content = json.loads((other / 'tokenizer.json').read_text())
    content['model']['vocab']['dog'], content['model']['vocab']['sky'] = 13, 18
    (other / 'tokenizer.json').write_text(json.dumps(content))
    options = [{}, dict(clean='canonicalize'), dict(strip_sep_token=True), dict(tokenizer_mode='clips')]
    found = [HubTokenizer(HFTokenizer(str(bert), **o)).identity for o in options]
    found += [HubTokenizer(HFTokenizer(str(folder))).identity for folder in (t5, other)]
    assert len(set(found)) == len(found)
    ours = HubTokenizer(HFTokenizer(str(bert)))
    ours('a very long text ' * 100)
    assert ours.identity == found[0]  # what was asked of it plays no part
    ours._inner.src_lang = 'de'
    assert ours.identity != found[0]


def test_identity_follows_the_merges(tmp_path: Path) -> None:
    """Two lists of merges of one length give other ids, and once shared a name in the cache."""
    found = set()
    for words in (['road', 'sky'], ['sky', 'road'], ['tree', 'dog']):
        found.add(BPETokenizer(small_tokenizer(words)).identity)
    assert len(found) == 2  # the order of the words plays no part
    texts = [BPETokenizer(small_tokenizer(words))('dog') for words in (['road', 'sky'], ['tree', 'dog'])]
    assert texts[0] != texts[1]


def test_copies_of_a_model_share_their_tokenizer() -> None:
    tower = CLIPTextTower.create(embed_dim=8, width=16, heads=2, layers=1)
    assert copy.deepcopy(tower).tokenizer is tower.tokenizer is default_tokenizer()

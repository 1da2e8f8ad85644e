"""Text embeddings are computed once per vocabulary and state of the weights."""

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer

from denseclip.clip.text import BPETokenizer, CLIPTextTower, FullLengthTextTower
from denseclip.clip.text_bank import TextBank
from denseclip.clip.text_cache import default_cache_dir
from denseclip.clip.vocabulary import Vocabulary
from denseclip.weights import read_checkpoint

WORDS = 'road; car=automobile, van; sky'


@pytest.fixture
def tower():
    torch.manual_seed(0)
    return CLIPTextTower.create(context_length=30, width=16, heads=2, layers=1, embed_dim=8).eval()


def forbid(tower, monkeypatch):
    def fail(*_, **__):
        raise AssertionError('the text tower ran')

    monkeypatch.setattr(tower, 'encode', fail)
    monkeypatch.setattr(tower, 'encode_tokens', fail)


def test_one_name_and_one_template_is_the_tower_itself(tower):
    text = TextBank(tower).encode('road; sky')
    assert torch.allclose(text.embeddings, F.normalize(tower.encode(['road', 'sky']), dim=-1), atol=1e-6)
    assert text.names == ('road', 'sky')


def test_mean_over_templates_then_names(tower):
    text = TextBank(tower, templates=['a {}', 'the {}']).encode(WORDS)
    names = []
    for name in ('car', 'automobile', 'van'):
        sentences = F.normalize(tower.encode([f'a {name}', f'the {name}']), dim=-1)
        names.append(F.normalize(sentences.mean(0), dim=-1))
    assert torch.allclose(text.embeddings[1], F.normalize(torch.stack(names).mean(0), dim=-1), atol=1e-6)
    assert text.embeddings.shape == (3, 8)
    assert text.class_index.tolist() == [0, 1, 2]


def test_max_of_scores(tower):
    text = TextBank(tower, merge='max').encode(WORDS)
    assert text.embeddings.shape == (5, 8)
    scores = torch.randn(2, 5, 3)
    merged = text.class_scores(scores)
    assert torch.equal(merged[:, 1], scores[:, 1:4].max(dim=1).values)
    assert torch.equal(merged[:, 2], scores[:, 4])
    assert torch.equal(text.class_scores(scores.movedim(1, 2), dim=-1), merged.movedim(1, 2))
    mean = TextBank(tower).encode(WORDS)
    assert mean.class_scores(merged) is merged


def test_background_prompts_are_the_last_class(tower):
    vocabulary = Vocabulary.parse('cat', background='prompts', background_names=('wall', 'sky'))
    text = TextBank(tower).encode(vocabulary)
    assert text.names == ('cat', 'background')
    assert len(text) == 2 == len(text.embeddings)


def test_memory_cache(tower, monkeypatch):
    bank = TextBank(tower)
    first = bank.encode(WORDS).embeddings
    forbid(tower, monkeypatch)
    assert torch.equal(bank.encode(Vocabulary.parse(WORDS)).embeddings, first)


def test_second_load_comes_from_disk(tower, tmp_path, monkeypatch):
    first = TextBank(tower, 'vild', cache_dir=tmp_path).encode(WORDS)
    forbid(tower, monkeypatch)
    second = TextBank(tower, 'vild', cache_dir=tmp_path).encode(WORDS)
    assert torch.equal(first.embeddings, second.embeddings)
    (entry,) = tmp_path.glob('*.safetensors')
    assert 'automobile' in read_checkpoint(entry).meta['names']


@pytest.mark.parametrize(
    'change', ['weights', 'names', 'templates', 'dtype', 'tokenizer', 'cleaning', 'positions', 'pool']
)
def test_any_change_runs_the_tower_again(tower, tmp_path, change):
    bank = TextBank(tower, cache_dir=tmp_path)
    prompts = Vocabulary.parse(WORDS).prompts
    before = bank.key(prompts)
    if change == 'weights':
        with torch.no_grad():
            tower.text_projection[0, 0] += 1
    elif change == 'names':
        prompts = prompts[:-1]
    elif change == 'templates':
        bank = TextBank(tower, 'photo', cache_dir=tmp_path)
    elif change == 'dtype':
        tower.double()
    elif change == 'cleaning':
        tower.tokenizer = BPETokenizer(SimpleTokenizer(clean='canonicalize'))
    elif change == 'positions':
        tower.positional_embedding = torch.nn.Parameter(tower.positional_embedding[:20].detach())
    elif change == 'pool':
        tower.pool, tower.eos_id = 'eos', 49407
    else:
        tower.tokenizer = None
    assert bank.key(prompts) != before


@pytest.mark.parametrize('change', [dict(no_causal_mask=True), dict(pool_type='first')])
def test_what_leaves_no_trace_in_the_weights_changes_the_key(change):
    """A mask or a pooling rule has no parameters, and once two such towers shared their entries."""
    keys = set()
    for options in ({}, change):
        torch.manual_seed(0)
        text = {**dict(context_length=12, width=16, heads=2, layers=1, pool_type='last'), **options}
        clip = open_clip.CustomTextCLIP(8, dict(layers=1, width=16, patch_size=8, image_size=16, head_width=8), text)
        tower = FullLengthTextTower(clip.text, BPETokenizer(), context_length=12, embed_dim=8, width=16)
        keys.add(TextBank(tower).key(['road']))
    assert len(keys) == 2


def test_autocast_has_entries_of_its_own(tower):
    bank = TextBank(tower)
    plain = bank.key(['road'])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert bank.key(['road']) != plain


def test_names_joined_differently_do_not_collide(tower):
    bank = TextBank(tower)
    assert bank.key(['a', 'b c']) != bank.key(['a b', 'c'])


def test_damaged_entry_is_written_anew(tower, tmp_path):
    first = TextBank(tower, cache_dir=tmp_path).encode(WORDS)
    (entry,) = tmp_path.glob('*.safetensors')
    entry.write_bytes(entry.read_bytes()[:40])
    with pytest.warns(UserWarning, match='unusable and will be written anew'):
        again = TextBank(tower, cache_dir=tmp_path).encode(WORDS)
    assert torch.equal(first.embeddings, again.embeddings)
    assert read_checkpoint(entry).state_dict['embeddings'].shape == (5, 8)


def test_unwritable_cache_only_warns(tower, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.warns(UserWarning, match='not cached on disk'):
        text = TextBank(tower, cache_dir=tmp_path / 'file').encode(WORDS)
    assert len(text) == 3


def test_memory_cache_is_bounded(tower, monkeypatch):
    monkeypatch.setattr('denseclip.clip.text_bank._IN_MEMORY', 32)
    bank = TextBank(tower)
    for i in range(40):
        bank.encode([f'class {i}'])
    assert len(bank._memory) == 32
    assert len(bank.encode([f'class {i}' for i in range(40)])) == 40


def test_only_names_not_met_before_are_encoded(tower, tmp_path, monkeypatch):
    bank = TextBank(tower, templates=['a {}', 'the {}'], cache_dir=tmp_path)
    known = bank.encode('road; sky; car').embeddings
    seen, encode = [], tower.encode
    monkeypatch.setattr(tower, 'encode', lambda sentences, *args: seen.extend(sentences) or encode(sentences, *args))
    text = bank.encode('tree; sky; road; tram=trolley')
    assert seen == [f'{article} {name}' for name in ('tree', 'tram', 'trolley') for article in ('a', 'the')]
    assert torch.equal(text.embeddings[1:3], known[[1, 0]])
    fresh = TextBank(tower, templates=['a {}', 'the {}']).encode('tree; sky; road; tram=trolley').embeddings
    assert torch.allclose(text.embeddings, fresh, atol=1e-6)
    seen.clear()
    again = TextBank(tower, templates=['a {}', 'the {}'], cache_dir=tmp_path).encode('tree; sky; road; tram=trolley')
    assert not seen and torch.equal(again.embeddings, text.embeddings)
    with torch.no_grad():
        tower.text_projection.mul_(-1)
    bank.encode('road')
    assert seen == ['a road', 'the road']


def test_moving_embeddings(tower):
    text = TextBank(tower).encode(WORDS).to(torch.float64)
    assert text.embeddings.dtype == torch.float64 and len(text) == 3


def test_bad_settings(tower):
    with pytest.raises(ValueError, match="merge='median' is unknown"):
        TextBank(tower, merge='median')


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv('DENSECLIP_CACHE', str(tmp_path))
    assert default_cache_dir() == tmp_path / 'text'
    monkeypatch.delenv('DENSECLIP_CACHE')
    assert default_cache_dir().parts[-3:] == ('.cache', 'denseclip', 'text')


def test_described_classes_score_the_mean_of_their_sentences(tower):
    described = Vocabulary.parse(WORDS).with_descriptions(
        {'road': ['asphalt'], 'van': ['four wheels', 'a roof'], 'sky': ['blue']}
    )
    text = TextBank(tower, templates=['a {}', 'the {}']).encode(described)
    sentences = ['road, which has asphalt', 'car, which has four wheels', 'car, which is a roof', 'sky, which has blue']
    rows = F.normalize(tower.encode(sentences), dim=-1)  # in no template
    picture = F.normalize(torch.randn(5, 8), dim=-1)
    cosines = picture @ rows.T
    expected = torch.stack([cosines[:, 0], cosines[:, 1:3].mean(dim=1), cosines[:, 3]], dim=1)
    torch.testing.assert_close(picture @ text.embeddings.T, expected)


def test_where_some_classes_are_described_all_have_length_one(tower):
    some = Vocabulary.parse(WORDS).with_descriptions({'car': ['four wheels', 'a roof']})
    text = TextBank(tower, templates=['a {}', 'the {}']).encode(some)
    torch.testing.assert_close(text.embeddings.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(
        text.embeddings[0], TextBank(tower, templates=['a {}', 'the {}']).encode(WORDS).embeddings[0]
    )

"""The parity harness itself: discovery, tolerances, sparse tables, and the rule that no fixture is forgotten."""

import json
import os

import pytest
import torch
from parity.fixtures import DEFAULT_ROOT, Fixture, compare, discover, method_folders, tolerance_of
from parity.registry import CHECKS, NOT_BUILT, is_of_kind, kind_of, status
from safetensors.torch import save_file

TABLE = {
    'rtol': 1e-4,
    'atol': 1e-5,
    'out.train': {'atol': 1.0},
    'out.train.after': {'atol': 2.0},
    'out.pred': 'allow <=0.5% of pixels to differ',
    'acc_seg': {'atol': 0.1},
}


@pytest.mark.parametrize(
    ('key', 'expected'),
    [
        ('out.eval.x', TABLE),
        ('out.train.x', TABLE['out.train']),
        ('out.train.after.bn', TABLE['out.train.after']),
        ('out.train.loss.acc_seg', TABLE['acc_seg']),
        ('out.pred', TABLE['out.pred']),
    ],
)
def test_longest_prefix_wins_and_accuracy_has_its_own(key, expected):
    assert tolerance_of(TABLE, key) is expected


@pytest.mark.parametrize(
    ('tolerance', 'good', 'bad'),
    [
        ({'rtol': 0.1, 'atol': 0.0}, 1.05, 1.2),
        ({'rtol': 0.0, 'atol': 0.1}, 1.05, 1.2),
        ({'max_abs_diff_over_max_abs_ref': 0.01}, 1.03, 1.2),
        ('exact', 1.0, 1.0001),
        ('allow <=25% of pixels to differ', 2.0, None),
    ],
)
def test_compare(tolerance, good, bad):
    reference = torch.tensor([1.0, 4.0, -4.0, 2.0])
    for first, fits in ((good, True), (bad, False)):
        if first is not None:
            value = torch.cat([torch.tensor([first]), reference[1:]])
            assert (compare(value, reference, tolerance) is None) is fits


def test_not_a_number_never_fits():
    for tolerance in ({'rtol': 1.0, 'atol': 1.0}, {'max_abs_diff_over_max_abs_ref': 1.0}, 'exact'):
        assert compare(torch.tensor([float('nan')]), torch.tensor([1.0]), tolerance)


def test_more_than_the_allowed_share_fails():
    reference = torch.zeros(1000)
    value = reference.clone()
    value[:5] = 1
    assert compare(value, reference, TABLE['out.pred']) is None
    value[:6] = 1
    assert compare(value, reference, TABLE['out.pred'])


@pytest.fixture
def root(tmp_path):
    """A folder of each layout: a folder per fixture, flat pairs of files, and plain JSON."""
    folder = tmp_path / 'one' / 'thing_deep'
    folder.mkdir(parents=True)
    (folder / 'manifest.json').write_text(json.dumps({'tolerance': {'atol': 0.0}}))
    save_file(
        {'in.x_u8': torch.tensor([0, 128, 255], dtype=torch.uint8), 'out.y': torch.ones(2)},
        folder / 'tensors.safetensors',
    )
    (tmp_path / 'two').mkdir()
    (tmp_path / 'two' / 'flat.manifest.json').write_text('{}')
    save_file({'out.z': torch.ones(1)}, tmp_path / 'two' / 'flat.safetensors')
    (tmp_path / 'two' / 'recipe.json').write_text('{"a": 1}')
    (tmp_path / 'two' / 'README.md').write_text('words')
    return tmp_path


def test_discovery_sees_every_layout(root):
    found = {fixture.id: fixture for fixture in discover(root)}
    assert set(found) == {'one/thing_deep', 'two/flat', 'two/recipe'}
    assert found['two/flat'].forgotten() == ['out.z']
    assert found['two/recipe'].tensors == {} and found['two/recipe'].manifest == {'a': 1}


def test_another_root_replaces_whole_methods_only(root, monkeypatch):
    own = {folder.name for folder in DEFAULT_ROOT.iterdir() if folder.is_dir()}
    (root / min(own)).mkdir()
    monkeypatch.setenv('GOLDEN_DIR', str(root))
    found = {folder.name: folder.parent for folder in method_folders()}
    assert set(found) == own | {'one', 'two'}
    assert {name for name, parent in found.items() if parent == root} == {'one', 'two', min(own)}


def test_several_roots_are_separated_as_in_a_path(root, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp('other')
    (other / 'one').mkdir()
    (other / 'one' / 'more.json').write_text('{"b": 2}')
    monkeypatch.setenv('GOLDEN_DIR', os.pathsep.join([str(root), str(other)]))
    mine = [f.id for f in discover() if f.method in ('one', 'two')]
    assert sorted(mine) == ['one/more', 'one/thing_deep', 'two/flat', 'two/recipe']
    assert {f.method for f in discover()} > {folder.name for folder in DEFAULT_ROOT.iterdir() if folder.is_dir()}
    monkeypatch.setenv('GOLDEN_DIR', f'{root}{os.pathsep}{root}/missing')
    with pytest.raises(FileNotFoundError, match='missing'):
        discover()


def test_images_are_decoded_and_forgotten_results_are_named(root):
    fixture = discover(root)[0]
    assert fixture.input('x').tolist() == [-2.0, 0.0, 127 / 64]
    assert fixture.forgotten() == ['out.y']
    with pytest.raises(AssertionError, match='differs by'):
        fixture.expect('y', torch.tensor([1.0, 2.0]))
    with pytest.raises(AssertionError, match='shape'):
        fixture.expect('y', torch.ones(3))
    fixture.expect('y', torch.ones(2))
    assert not fixture.forgotten()


def test_sparse_tables_are_filled(tmp_path):
    manifest = {'sparse_rows': {'emb.weight': {'full_shape': [4, 2], 'fill': 0.0}}}
    fixture = Fixture('m', 'n', manifest)
    fixture.tensors = {
        'sd.bias': torch.ones(1),
        'sdrows.emb.weight.index': torch.tensor([2]),
        'sdrows.emb.weight.value': torch.tensor([[5.0, 6.0]]),
    }
    state = fixture.state('p.')
    assert set(state) == {'p.bias', 'p.emb.weight'}
    assert state['p.emb.weight'].tolist() == [[0, 0], [0, 0], [5, 6], [0, 0]]


def test_the_longest_kind_wins():
    kinds = [('m', 'clip'), ('m', 'clip_resnet'), ('m', '*'), ('n', 'clip_resnet_attn')]
    assert kind_of(Fixture('m', 'clip_resnet_attn_wide', {}), kinds) == ('m', 'clip_resnet')
    assert kind_of(Fixture('m', 'clip_vit', {}), kinds) == ('m', 'clip')
    assert kind_of(Fixture('m', 'clipper', {}), kinds) == ('m', '*')
    assert not is_of_kind('clipper', 'clip')


def test_an_unknown_fixture_fails(monkeypatch):
    with pytest.raises(AssertionError, match='neither checked nor listed'):
        status(Fixture('denseclip', 'something_new', {}))
    monkeypatch.setitem(NOT_BUILT, ('denseclip', 'something'), 'later')
    assert status(Fixture('denseclip', 'something_new', {})) == (None, 'later')
    monkeypatch.setitem(CHECKS, ('denseclip', 'something'), print)
    with pytest.raises(AssertionError, match='off NOT_BUILT'):
        status(Fixture('denseclip', 'something_new', {}))

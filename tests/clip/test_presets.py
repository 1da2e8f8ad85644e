"""Named settings of the training-free methods."""

import pytest

from denseclip.clip.presets import PRESETS, preset
from denseclip.clip.towers import DenseReadOut


@pytest.mark.parametrize('name', PRESETS)
def test_each_is_a_read_out_with_a_source(name):
    found = preset(name)
    assert DenseReadOut(**found.read_out).dense
    assert 'et al.' in found.source
    assert found.window <= found.side and found.stride <= found.window


def test_what_the_papers_say():
    assert preset('sclip').read_out['attention'] == 'qq+kk'
    bare = {name for name in PRESETS if preset(name).read_out.get('residual') is False}
    assert {'clearclip', 'naclip', 'resclip', 'proxyclip'} <= bare and not {'clip', 'maskclip', 'sclip', 'gem'} & bare
    assert preset('naclip').read_out['gaussian'] == 5.0
    assert preset('gem').read_out['layers'] == 6 and preset('gem').model['templates'] == 'photo'


def test_unknown_names_get_a_hint():
    with pytest.raises(ValueError, match="did you mean 'clearclip'"):
        preset('clear-clip')
    with pytest.raises(ValueError, match='known: clip, maskclip'):
        preset('xyz')

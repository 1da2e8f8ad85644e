"""A config in YAML is data, whichever function of MMEngine reads it."""

import mmengine
import pytest
import yaml
from mmengine.config import Config

from denseclip.engine.config import OptionError, load_config

ASKS = {
    'a call': "model: !!python/object/apply:builtins.print ['it ran']",
    'an object': 'model: !!python/object/new:pathlib.Path [here]',
    'a name': 'model: !!python/name:builtins.print',
    'a module': 'model: !!python/module:this',
}


@pytest.mark.parametrize('case', ASKS)
def test_what_asks_for_python_is_refused(case, tmp_path, capsys):
    path = tmp_path / 'asks.yml'
    path.write_text(f'{ASKS[case]}\n')
    for read in (mmengine.load, Config.fromfile):
        with pytest.raises(yaml.YAMLError, match='could not determine a constructor'):
            read(path)
    with pytest.raises(OptionError, match=r'asks\.yml.*cannot be read'):
        load_config(path)
    (tmp_path / 'child.py').write_text("_base_ = ['asks.yml']\n")
    with pytest.raises(OptionError, match='cannot be read'):
        load_config(tmp_path / 'child.py')
    out = capsys.readouterr().out
    assert 'it ran' not in out and 'Zen' not in out


def test_tuples_that_mmengine_dumps_come_back(tmp_path):
    content = {'size': (3, (4, 5)), 'names': ['a', 'b'], 'rate': 1e-4, 'on': True, 'none': None}
    path = tmp_path / 'own.yml'
    mmengine.dump(content, path)
    assert mmengine.load(path) == content

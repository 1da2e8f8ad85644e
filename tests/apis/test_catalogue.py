"""The list of models: every name can be loaded or says what it lacks; the page of the table says the same."""

import subprocess
import sys
from pathlib import Path

import pytest

from denseclip.apis.catalogue import KINDS, TASKS, find_card, is_config, list_models, one_of
from denseclip.apis.errors import UserError
from denseclip.apis.methods import METHODS, methods_for
from denseclip.apis.zoo import ours, read_zoo
from denseclip.clip.presets import PRESETS
from denseclip.files.shipped import config_file

ROOT = Path(__file__).parents[2]


def test_all_models_are_listed_once():
    names = [card.name for card in list_models()]
    assert len(names) == len(set(names))
    assert set(names) == {entry['name'] for entry in read_zoo()['models']} | set(PRESETS) | set(METHODS)
    for card in list_models():
        assert card.kind in KINDS and set(card.tasks) <= set(TASKS) and card.tasks and card.line
        assert card.config is None or ours(card.config).is_file()
        assert card.weights is None or ours(card.weights).is_file()
        assert find_card(card.name) == card


def test_models_that_are_ready_bring_their_weights():
    ready = [card for card in list_models() if card.ready]
    assert {card.kind for card in ready} == {'zoo'} and all(card.weights for card in ready) and len(ready) == 2
    assert find_card('proxyclip').needs == ('words', 'affinity') and find_card('dinoiser').needs[1:] == (
        'config',
        'weights',
    )


def test_the_list_is_narrowed():
    assert {card.kind for card in list_models(kind='preset')} == {'preset'}
    assert [card.name for card in list_models('panoptic')] == methods_for('panoptic')
    for options in (dict(task='boxes'), dict(kind='cat')):
        with pytest.raises(UserError, match='there are'):
            list_models(**options)


def test_names_and_files_are_told_apart():
    of_package = 'maskclip_vit-xs8_zs_miniworld-128x128'
    for name in ('a.py', 'x/naclip', 'b.json', 'c.yml', Path('naclip'), of_package):
        assert is_config(name)
    for name in ('naclip', 'denseclip_fpn_clip-r50_80k_ade20k-512x512', 'ViT-B-16'):
        assert not is_config(name)
    shipped = 'configs/fcclip/README.md'
    assert config_file(shipped).is_file() and config_file('nowhere.py') == Path('nowhere.py')


def test_two_names_are_one_too_many():
    assert one_of(a=None, b='x') == 'x' and one_of(a=None) is None
    with pytest.raises(UserError, match='a x and b y are two models'):
        one_of(a='x', b='y')


def test_the_list_needs_neither_torch_nor_the_host():
    code = """
import sys, denseclip
denseclip.list_models()
print({'torch', 'numpy', 'mmengine', 'mmseg', 'open_clip'} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'set()'

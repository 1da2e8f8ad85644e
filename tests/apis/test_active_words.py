"""The choice of classes as people meet it: the setting of a predictor, and what results and the command say."""

import json

import numpy as np
import pytest

from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.cli.main import main

WORDS = 'red star; mug; fish; grass; sky; carpet; bell; kite'
CLIP = 'local-dir:checkpoints/miniworld_clip'


@pytest.fixture(scope='module')
def naclip():
    return Inferencer.from_preset('naclip', WORDS, CLIP, device='cpu')


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_results_tell_which_classes_took_part(naclip, picture) -> None:
    assert naclip.segment(picture).active is None
    naclip.active_vocabulary = dict(scorer='mixed', most=3)
    found = naclip.segment(picture)
    naclip.active_vocabulary = None
    assert len(found.active) == 3 and found.active_by == 'mixed' and found.considered == 8
    assert {area.name for area in found.areas() if area.pixels} <= set(found.active)
    assert not set(found.left_out) & (set(found.vocabulary.names) - set(found.active))
    said = found.to_dict()['active_vocabulary']
    assert said['scorer'] == 'mixed' and said['considered'] == 8
    assert {entry['class']: entry['score'] for entry in said['kept']} == found.active
    assert 'classes chosen by mixed: 3 of 8 took part' in found.summary()
    assert found.areas_csv().count('took no part') == 5


def test_sure_classes_are_taken_from_those_that_took_part(naclip, picture) -> None:
    naclip.active_vocabulary = dict(scorer='picture', most=2)
    found = naclip.segment(picture, min_confidence=1.0)
    naclip.active_vocabulary = None
    assert set(found.left_out) == set(found.active) and found.names[-1] == 'nothing'


def test_a_wrong_setting_is_one_sentence(naclip, loaded) -> None:
    with pytest.raises(UserError, match="no scorer is called 'mixd'; did you mean 'mixed'"):
        naclip.active_vocabulary = 'mixd'
    with pytest.raises(UserError, match='DenseCLIP cannot choose the classes of a picture'):
        loaded.active_vocabulary = 'mixed'


def test_the_command_says_it_too(tmp_path, picture, capsys) -> None:
    from PIL import Image

    Image.fromarray(picture).save(tmp_path / 'a.png')
    command = ['segment', str(tmp_path / 'a.png'), '--preset', 'naclip', '--clip', CLIP, '--classes', WORDS]
    assert main([*command, '--active-vocabulary', 'picture', '--json']) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])['active_vocabulary']
    assert said['considered'] == 8 and len(said['kept']) == 5

"""Training-free methods from Python and from the command line, on a tiny CLIP in a folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_open_vocab import ARCH, TINY_DINO, tiny_open_vocab, tiny_sam

from denseclip.apis import Inferencer, UserError, segment
from denseclip.cli.main import main
from denseclip.weights import write_safetensors

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clip')
    config = {**ARCH, 'vision_cfg': {**ARCH['vision_cfg']}, 'text_cfg': {**ARCH['text_cfg'], 'vocab_size': 49408}}
    config['text_cfg']['context_length'] = 77
    (folder / 'open_clip_config.json').write_text(json.dumps({'model_cfg': config, 'preprocess_cfg': {}}))
    model = tiny_open_vocab('maskclip')
    write_safetensors(model.parts.clip.model.state_dict(), folder / 'open_clip_model.safetensors')
    return f'local-dir:{folder}'


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / 'street.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(file)
    return file


def test_a_picture_is_segmented_by_words(clip, picture):
    result = segment(picture, 'road; car=automobile; sky', preset='sclip', clip=clip, device='cpu')
    assert result.label_map.shape == (40, 60) and result.names == ('road', 'car', 'sky')
    again = segment(picture, 'tree; sky', preset='sclip', clip=clip, device='cpu')
    assert again.names == ('tree', 'sky')
    inferencer = Inferencer.from_preset('sclip', 'road; car=automobile; sky', clip, device='cpu')
    assert np.array_equal(inferencer.segment(picture).label_map, result.label_map)
    assert inferencer.model.test_cfg.crop_size == (224, 224)


def test_several_pictures_by_windows_are_those_one_by_one(clip, picture):
    windows = dict(mode='slide', crop_size=(48, 48), stride=(24, 24))
    found = Inferencer.from_preset('sclip', 'road; car=automobile; sky', clip, device='cpu', test_cfg=windows)
    found._transforms.transforms[0].scale = (128, 64)
    rng = np.random.default_rng(0)
    pictures = [picture, *(rng.integers(0, 255, (h, w, 3), dtype=np.uint8) for h, w in ((40, 60), (60, 40), (40, 60)))]
    for one, other in zip(pictures, found.segment(pictures, channel_order='rgb'), strict=True):
        alone = found.segment(one, channel_order='rgb').label_map
        assert (alone == other.label_map).mean() > 0.999


def test_plug_ins_are_passed_on(clip, picture):
    dino = dict(type='DINOAffinity', dino=TINY_DINO)
    windows = dict(mode='slide', crop_size=(64, 64), stride=(64, 64))
    found = Inferencer.from_preset('proxyclip', 'road; sky', clip, device='cpu', affinity=dino, test_cfg=windows)
    assert isinstance(found.segment(picture).label_map, np.ndarray)


def test_networks_and_masks_of_presets_from_the_command_line(clip, picture, tmp_path, capsys):
    words = ['segment', str(picture), '--classes', 'road; sky', '--clip', clip, '--device', 'cpu']
    dino = ['--dino', f'local-dir:{ROOT / "checkpoints/miniworld_dino"}']
    out = ['--masks', 'superpixels', '--out', str(tmp_path / 'out')]
    assert main([*words, '--preset', 'corrclip', *dino, *out]) == 0
    assert (tmp_path / 'out' / 'street_labels.png').is_file()
    sam = tmp_path / 'sam'
    tiny_sam().save_pretrained(sam)
    whole = ['--masks', f'sam:{sam}', '--out', str(tmp_path / 'whole')]
    assert main([*words, '--preset', 'trident', *dino, *whole]) == 0
    assert (tmp_path / 'whole' / 'street_labels.png').is_file()
    for extra, message in (
        (['--preset', 'trident', *dino], 'give --masks sam:WEIGHTS'),
        (['--preset', 'trident', *dino, '--masks', 'superpixels'], 'asks Segment Anything itself'),
        (['--preset', 'corrclip', *dino], 'give --masks SOURCE'),
        (['--preset', 'corrclip', '--masks', 'superpixels'], 'give --dino WEIGHTS'),
        (['--preset', 'corrclip', *dino, '--masks', 'model'], 'is of OVSeg'),
        (['--preset', 'naclip', *dino], 'naclip takes no --dino'),
        (['--preset', 'proxyclip', *dino, '--masks', 'superpixels'], 'takes no --masks'),
        (['--method', 'fcclip', *dino], '--dino (dino=) goes with presets'),
    ):
        assert main([*words, *extra, '--out', str(tmp_path / 'new')]) == 2
        assert message in capsys.readouterr().err


def test_command_line(clip, picture, tmp_path, capsys):
    words = ['--classes', 'road; sky', '--preset', 'naclip', '--clip', clip, '--device', 'cpu']
    assert main(['segment', str(picture), *words, '--out', str(tmp_path / 'out')]) == 0
    assert (tmp_path / 'out' / 'street_labels.png').is_file()
    for extra, message in (
        (['--preset', 'nacklip', '--classes', 'a'], "did you mean 'naclip'"),
        (['--preset', 'naclip'], 'brings no classes'),
        (['--preset', 'naclip', '--classes', 'a', '--config', 'c.py'], 'leave --config'),
        (['--pretrained', 'openai', '--classes', 'a'], 'go with a preset'),
        (['--preset', 'proxyclip', '--classes', 'a'], 'affinity=dict'),
        (['--preset', 'dinoiser', '--classes', 'a'], 'and --weights (weights=)'),
        (['--preset', 'naclip', '--classes', 'a', '--clip', 'ViT-B-16-SigLIP'], 'say which weights'),
        (['--preset', 'naclip', '--classes', 'a', '--clip', clip, '--pretrained', 'x.pt'], 'brings its own weights'),
    ):
        assert main(['segment', str(picture), *extra, '--out', str(tmp_path / 'new')]) == 2
        assert message in capsys.readouterr().err


def test_options_that_do_not_go_together(picture):
    for options in (dict(clip='RN50'), dict(preset='naclip', config='c.py'), dict(preset='naclip')):
        with pytest.raises(UserError):
            segment(picture, None if 'config' not in options else 'a', **options)

"""SAM 3 through ``load_model`` and the command line, from the folder that transformers writes, and back."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_config import tiny_config
from tiny_sam import SIDE, sam3_folder, tiny_sam3, whole_sam3_folder

from denseclip.apis import Inferencer, load_model
from denseclip.apis.errors import UserError
from denseclip.cli.main import main
from denseclip.engine.launch import TestOptions
from denseclip.engine.launch import test as evaluate
from denseclip.weights import WeightMismatchError
from denseclip.weights.convert import convert

WORDS = 'lamp; field; boat'


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sam3_folder(tmp_path_factory.mktemp('weights') / 'sam3')


@pytest.fixture(scope='module')
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('pictures') / 'noise.png'
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((90, 60)).save(path)
    return path


def test_a_folder_of_transformers_is_a_checkpoint(folder: Path, picture: Path, tmp_path: Path) -> None:
    model = load_model('sam3', weights=folder, words=WORDS, device='cpu')
    found = model(picture)
    assert found.label_map.shape == (60, 90) and found.vocabulary.names == ('lamp', 'field', 'boat')
    assert set(found.scores.tolist()) and (found.scores <= 1).all()
    # The picture reaches the network at its own size, by one resize.
    pixels = np.array(Image.open(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    maps = tiny_sam3(vocabulary=WORDS).head_logits(given)
    wanted = torch.nn.functional.interpolate(maps, size=(60, 90), mode='bilinear')[0].argmax(dim=0)
    assert (torch.from_numpy(found.label_map.astype(np.int64)) == wanted).float().mean() > 0.999
    direct = Inferencer('configs/sam3/sam3_vit-l14_zs_ade20k-1008x1008.py', folder, 'cpu', WORDS)
    assert np.array_equal(direct(picture).label_map, found.label_map)
    saved = model.save_pretrained(tmp_path / 'ours')
    again = load_model(saved, device='cpu', words=WORDS)
    assert np.array_equal(again(picture).label_map, found.label_map)


def test_the_published_file_with_its_tracker_is_read_too(folder: Path, picture: Path, tmp_path: Path) -> None:
    published = whole_sam3_folder(tmp_path / 'published')
    plain, whole = (load_model('sam3', weights=place, words=WORDS, device='cpu') for place in (folder, published))
    assert np.array_equal(plain(picture).label_map, whole(picture).label_map)
    ours = convert(load_file(published / 'model.safetensors'), 'sam3')
    assert set(convert(ours, 'sam3', inverse=True)) == set(load_file(folder / 'model.safetensors'))


def test_the_command_gives_all_tasks(folder: Path, picture: Path, tmp_path: Path) -> None:
    options = ['--method', 'sam3', '--weights', str(folder), '--classes', WORDS, '--device', 'cpu']
    for task in ('semantic', 'instance', 'panoptic'):
        out = tmp_path / task
        assert main(['segment', str(picture), *options, '--task', task, '--out', str(out)]) == 0
        assert any(out.iterdir())


def test_tools_test_takes_a_folder_and_what_it_says_of_pictures(folder: Path, tmp_path: Path) -> None:
    config = tiny_config(Path('sam3/sam3_vit-l14_zs_voc20-1008x1008.py'), tmp_path / 'data')
    config.model.pop('sam')  # the sizes of the published model
    config.dump(tmp_path / 'tiny.py')
    scores = evaluate(tmp_path / 'tiny.py', folder, TestOptions(work_dir=str(tmp_path / 'w')))
    assert math.isfinite(scores['mIoU'])


def test_a_lower_score_shows_more_instances(folder: Path, picture: Path) -> None:
    options = dict(weights=folder, words=WORDS, things='all', task='instance', device='cpu')
    model = load_model('sam3', **options, score=0.0)
    every = np.sort(model(picture).scores)
    assert len(every) > 1 and every[0] < 0.3
    model.model.threshold = float(every[-2:].mean())  # one is an object; lower ones are those that are asked for
    assert np.array_equal(np.sort(model(picture).scores), every)
    assert len(model(picture, min_confidence=float(every[:2].mean())).scores) == len(every) - 1
    assert len(model(picture, min_confidence=1.0).scores) == 0 and model.model.tasks.least_score is None
    model.score = model.model.threshold
    assert np.array_equal(model(picture).scores, every[-1:])


def test_what_is_missing_is_said_in_one_sentence(
    folder: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match='needs the weights'):
        load_model('sam3', words=WORDS)
    with pytest.raises(UserError, match='gated.*hf auth login'):
        load_model('sam3', weights='hf-hub:facebook/sam3', words=WORDS, device='cpu')
    with pytest.raises(UserError, match='no model of transformers'):
        load_model('sam3', weights=tmp_path, words=WORDS, device='cpu')
    other = shutil.copytree(folder, tmp_path / 'other')
    (other / 'config.json').write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="'bert'"):
        load_model('sam3', weights=other, words=WORDS, device='cpu')
    shutil.copy(folder / 'config.json', other)
    state = load_file(other / 'model.safetensors')
    save_file({name: value for name, value in state.items() if 'query_embed' not in name}, other / 'model.safetensors')
    with pytest.raises(WeightMismatchError, match='query_embed'):
        load_model('sam3', weights=other, words=WORDS, device='cpu')
    (other / 'model.safetensors').unlink()
    (other / 'sam3.pt').write_bytes(b'')
    for given in (other, other / 'sam3.pt'):
        with pytest.raises(UserError, match=r"read from safetensors, and '.*sam3\.pt' is none"):
            load_model('sam3', weights=given, words=WORDS, device='cpu')
    monkeypatch.setitem(__import__('sys').modules, 'transformers', None)
    with pytest.raises(UserError, match=r'denseclip-suite\[sam\]'):
        load_model('sam3', weights=folder, words=WORDS, device='cpu')

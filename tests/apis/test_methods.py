"""``denseclip segment --method ovseg``, with masks from elsewhere and from a checkpoint."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_sam import sam2_folder, sam3_folder
from tiny_two_stage import ARCH, tiny_clip

from denseclip.apis import two_stage
from denseclip.apis.errors import UserError
from denseclip.apis.two_stage import ovseg_inferencer
from denseclip.cli.main import main
from denseclip.structures.deciders import DECIDERS
from denseclip.weights import write_safetensors


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clip')
    config = {**ARCH, 'text_cfg': {**ARCH['text_cfg'], 'vocab_size': 49408, 'context_length': 77}}
    (folder / 'open_clip_config.json').write_text(json.dumps({'model_cfg': config, 'preprocess_cfg': {}}))
    write_safetensors(tiny_clip().clip.model.state_dict(), folder / 'open_clip_model.safetensors')
    return f'local-dir:{folder}'


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """Pictures are not enlarged to 640 pixels."""
    monkeypatch.setitem(two_stage._STEPS[0], 'short_side', 64)


@pytest.fixture
def street(tmp_path):
    file = tmp_path / 'street.png'
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[:20, :, 2], pixels[:, 30:, 1] = 220, 150
    Image.fromarray(pixels).save(file)
    return file


def rows(folder):
    with open(folder / 'street_areas.csv', newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_superpixels_and_one_name(clip, street, tmp_path, capsys):
    options = ['--method', 'ovseg', '--masks', 'superpixels', '--clip', clip, '--device', 'cpu']
    out = tmp_path / 'out'
    assert main(['segment', str(street), *options, '--classes', 'traffic light', '--out', str(out)]) == 0
    found = rows(out)
    assert [row['class'] for row in found] == ['traffic light', 'background']
    assert sum(int(row['pixels']) for row in found) == 40 * 60
    assert 'decided by' in capsys.readouterr().out and any(row['decided by'] == 'CLIP' for row in found)


def test_masks_come_from_a_folder_of_transformers(clip, street, tmp_path):
    folder = sam2_folder(tmp_path / 'sam2')
    options = ['--method', 'ovseg', '--masks', f'sam:{folder}', '--clip', clip, '--device', 'cpu', '--classes', 'sky']
    assert main(['segment', str(street), *options, '--out', str(tmp_path / 'out')]) == 0
    assert sum(int(row['pixels']) for row in rows(tmp_path / 'out')) == 40 * 60
    with pytest.raises(UserError, match='words='):  # the detector of SAM 3 alone
        ovseg_inferencer('sky', masks=f'sam:{sam3_folder(tmp_path / "sam3")}', clip=clip, device='cpu')


def test_several_pictures_are_those_one_by_one(clip, street):
    found = ovseg_inferencer('sky; tree; car', masks='superpixels', clip=clip, device='cpu')
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 255, (3, 4, 3), dtype=np.uint8)).resize((60, 40)) for _ in range(2)]
    pictures = [street, *coarse, np.asarray(coarse[0].rotate(90, expand=True))]
    for one, other in zip(pictures, found.segment(pictures, channel_order='rgb'), strict=True):
        alone = found.segment(one, channel_order='rgb')
        assert (alone.label_map == other.label_map).mean() > 0.999 and alone.decided_by == other.decided_by


def test_mask_files_and_blank_pixels(clip, street, tmp_path):
    masks = np.zeros((1, 40, 60), dtype=bool)
    masks[0, 5:15, 5:25] = True
    (tmp_path / 'masks').mkdir()
    np.save(tmp_path / 'masks' / 'street.npy', masks)
    options = ['--method', 'ovseg', '--masks', str(tmp_path / 'masks'), '--clip', clip, '--device', 'cpu']
    assert main(['segment', str(street), *options, '--classes', 'road; sky', '--out', str(tmp_path / 'out')]) == 0
    labels = np.array(Image.open(tmp_path / 'out' / 'street_labels.png'))
    assert (labels[:3] == 2).all() and (labels[8:12, 8:20] < 2).all()
    assert (labels == 2).mean() == pytest.approx(1 - masks.mean(), abs=0.05)


def ovseg_config(clip):
    """A model that is all there but small."""
    return dict(
        type='OVSeg',
        clip=dict(model=clip),
        vocabulary=['road', 'sky'],
        templates='photo',
        backbone=dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, norm_cfg=dict(type='BN')),
        decode_head=dict(
            type='OpenVocabMaskFormerHead',
            in_channels=[8, 16, 32, 64],
            dim=32,
            feat_channels=32,
            mask_dim=16,
            num_heads=2,
            num_queries=6,
            ffn_dim=16,
            decoder_layers=1,
        ),
        region_classifier=dict(prompt_depth=2),
    )


def test_a_checkpoint_decides_which_stage(clip, street, tmp_path, capsys):
    from mmseg.registry import MODELS

    torch.manual_seed(0)
    model = MODELS.build(ovseg_config(clip))
    weights = write_safetensors(model.state_dict(), tmp_path / 'ovseg.safetensors')
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64)), dict(type='PackSegInputs')]
    (tmp_path / 'c.json').write_text(json.dumps(dict(model=ovseg_config(clip), test_pipeline=steps)))
    options = ['--method', 'ovseg', '--config', str(tmp_path / 'c.json'), '--weights', str(weights), '--device', 'cpu']
    for stage, allowed in (('second', {'CLIP'}), ('both', set(DECIDERS)), ('first', {'mask generator'})):
        out = tmp_path / stage
        words = ['--stage', stage, '--classes', 'road; zebra; tree']
        assert main(['segment', str(street), *options, *words, '--out', str(out)]) == 0
        deciders = {row['decided by'] for row in rows(out)} - {''}
        assert deciders <= (allowed if stage == 'both' else {*allowed, *DECIDERS[:1]})
    found = ovseg_inferencer(None, config=tmp_path / 'c.json', weights=weights, device='cpu').segment(street)
    assert found.names == ('road', 'sky', 'background') and set(found.decided_by) <= {'road', 'sky'}
    assert 'decided by' in capsys.readouterr().out


def test_options_that_do_not_go_together(clip, street, tmp_path, capsys):
    words = ['--classes', 'road; sky']
    for extra, message in (
        (['--method', 'ovseg', *words], 'needs its checkpoint'),
        (['--method', 'ovseg', '--masks', 'superpixels', '--clip', clip], 'say what to look for'),
        (['--method', 'ovseg', '--masks', 'superpixels', '--weights', 'x.pt', *words], 'leave them out'),
        (['--method', 'ovseg', '--masks', 'superpixels', '--clip', clip, '--stage', 'both', *words], 'no first stage'),
        (['--method', 'ovseg', '--masks', 'nowhere', '--clip', clip, *words], 'is no folder'),
        (['--method', 'ovseg', '--masks', 'sam', '--clip', clip, *words], 'say which weights'),
        (['--method', 'ovseg', '--masks', 'sam:vit_b.pth', '--clip', clip, *words], 'segment_anything'),
        (['--method', 'ovseg', '--weights', 'x.pt', '--clip', clip, *words], 'go with --masks'),
        (['--method', 'ovseg', '--task', 'panoptic', *words], 'semantic results only'),
        (['--method', 'ovseg', '--preset', 'sclip', *words], 'two models'),
        (['--method', 'fcclip', '--masks', 'superpixels', *words], 'goes with --method ovseg'),
        (['--method', 'fcclip', '--clip', clip, *words], 'leave --clip'),
        (
            [
                '--method',
                'ovseg',
                '--masks',
                'superpixels',
                '--clip',
                clip,
                *words,
                '--background',
                'threshold',
                '--threshold',
                '0.5',
            ],
            "no background='threshold'",
        ),  # fmt: skip
    ):
        assert main(['segment', str(street), *extra, '--device', 'cpu', '--out', str(tmp_path / 'new')]) == 2
        assert message in capsys.readouterr().err, extra


def test_every_mask_counts_if_asked_for(clip, street):
    options = dict(masks='superpixels', clip=clip, device='cpu')
    best = ovseg_inferencer('road; sky', **options)
    every = ovseg_inferencer('road; sky', selection='all', **options)
    assert best.vocabulary.background == 'learned' and every.vocabulary.background == 'none'
    assert every.segment(street).label_map.max() <= 1 and not every.segment(street).decided_by
    best.set_vocabulary('zebra')
    assert best.segment(street).names == ('zebra', 'background')
    with pytest.raises(UserError, match='masks from superpixels'):
        ovseg_inferencer('road', stages='first', **options)

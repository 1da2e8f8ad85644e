"""Protocols and published numbers as data: complete, consistent, equal to the configs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from mmengine.config import Config

from denseclip.clip.presets import PRESETS
from denseclip.clip.templates import resolve_templates
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.open_vocab import (
    DOMAIN_SETS,
    LARGE_SETS,
    MESS_SETS,
    PROTOCOLS,
    PUBLISHED,
    SETS,
    Setting,
    default_protocol,
    evaluation_set,
    protocol,
    published,
)

CONFIGS = Path(__file__).parents[2] / 'configs'
CASES = [(p, name) for p in PROTOCOLS.values() for name in p.settings]


@pytest.mark.parametrize(('chosen', 'name'), CASES, ids=lambda x: getattr(x, 'name', x))
def test_every_setting_fits_its_set(chosen, name: str) -> None:
    setting, entry = chosen.setting(name), evaluation_set(name)
    assert len(Vocabulary.named(setting.vocabulary)) == entry.num_classes
    assert (setting.background != 'none') == entry.has_background
    assert setting.prob_threshold is None or 0 < setting.prob_threshold < 1
    if setting.crop is not None:
        assert min(setting.scale) >= max(setting.crop)
        assert all(0 < step <= side for step, side in zip(setting.stride, setting.crop, strict=True))
    assert resolve_templates(chosen.templates)


def test_what_the_papers_say() -> None:
    """The numbers of the specification, one by one."""
    ours = protocol('dinoiser').settings
    assert (
        list(ours)
        == list(SETS)
        == [*('voc21', 'context60', 'coco_object', 'voc20', 'cityscapes', 'context59', 'ade20k', 'coco_stuff')]
    )
    assert {(s.scale, s.crop, s.stride) for s in ours.values()} == {((2048, 448), (448, 448), (224, 224))}
    assert [name for name, s in ours.items() if s.background == 'learned'] == ['voc21', 'coco_object']
    assert ours['context60'].background == 'prompt'
    sclip = protocol('sclip').settings
    assert {name: s.scale[1] for name, s in sclip.items() if s.scale[1] != 336} == {
        'cityscapes': 560,
        'coco_stuff': 448,
    }
    assert {(s.crop, s.stride) for s in sclip.values()} == {((224, 224), (112, 112))}
    assert {name: s.logit_scale for name, s in sclip.items()} == {
        **dict.fromkeys(SETS, 40.0),
        'voc21': 65.0,
        'context60': 50.0,
        'coco_object': 50.0,
    }
    assert [s.area_threshold for s in sclip.values() if s.area_threshold] == [0.1]
    backgrounds = ('voc21', 'context60', 'coco_object')
    assert [sclip[n].prob_threshold for n in backgrounds] == [0.1, 0.1, 0.1]
    assert [protocol('clearclip').settings[n].prob_threshold for n in backgrounds] == [0.5, 0.15, 0.4]
    assert [protocol('proxyclip').settings[n].prob_threshold for n in backgrounds] == [0.2, 0.15, 0.25]
    naclip, clearclip, proxyclip = (protocol(n).settings for n in ('naclip', 'clearclip', 'proxyclip'))
    assert [naclip[n].prob_threshold for n in SETS] == [0.1, 0.1, 0.1, *[None] * 5] == [*_thresholds('naclip_pamr')]
    assert {n: s.scale[1] for n, s in naclip.items() if s.scale[1] != 336} == {'cityscapes': 560}
    assert [n for n, s in naclip.items() if s.crop is None] == ['voc21', 'voc20']
    assert {s.scale for s in clearclip.values()} == {(2048, 448)} and {s.logit_scale for s in clearclip.values()} == {
        50
    }
    assert {n: s.crop for n, s in clearclip.items() if s.crop != (448, 448)} == {'cityscapes': (224, 224)}
    assert {s.stride for s in clearclip.values()} == {(224, 224)}
    assert {n: s.scale[1] for n, s in proxyclip.items() if s.scale[1] != 336} == {'cityscapes': 448, 'ade20k': 448}
    assert {n: s.crop for n, s in proxyclip.items() if s.crop != (336, 336)} == {'cityscapes': (224, 224)}
    assert {s.stride for s in proxyclip.values()} == {(112, 112)}
    assert protocol('maskclip_orig').setting('context59').scale == (520, 520)
    original = protocol('maskclip_orig')
    assert original.clip == dict(norm_eps=1e-6, quick_gelu=False) and original.normalisation[0][0] == 123.675
    assert protocol('naclip_pamr').pamr == dict(iterations=10, dilations=(8, 16))


def _thresholds(name: str) -> list[float | None]:
    return [protocol(name).settings[n].prob_threshold for n in SETS]


def test_settings_as_configs() -> None:
    setting = Setting('voc21', (2048, 336), (224, 224), (112, 112), 'threshold', 0.1, 0.2, 40.0)
    assert setting.test_cfg() == dict(mode='slide', crop_size=(224, 224), stride=(112, 112))
    assert setting.post() == dict(background=0, prob_threshold=0.1, area_threshold=0.2)
    assert dataclasses.replace(setting, crop=None, stride=None).test_cfg() == dict(mode='whole')
    kinds = [step['type'] for step in setting.pipeline()]
    assert kinds.index('Resize') < kinds.index('LoadAnnotations')
    assert Setting('ade20k', (2048, 448)).post() == {}


@pytest.mark.parametrize(
    'wrong',
    [
        dict(background='sometimes'),
        dict(background='threshold'),
        dict(prob_threshold=0.1),
        dict(crop=(224, 224)),
    ],
)
def test_settings_that_contradict_themselves(wrong: dict) -> None:
    with pytest.raises(ValueError, match='need each other|unknown'):
        Setting('voc20', (2048, 448), **wrong)


def test_names_are_found_and_misspelt_ones_suggested() -> None:
    assert evaluation_set('COCO-Object') is SETS['coco_object'] is evaluation_set('cocoobject')
    with pytest.raises(KeyError, match="did you mean 'cityscapes'"):
        evaluation_set('citycapes')
    with pytest.raises(KeyError, match="did you mean 'sclip'"):
        protocol('sclp')
    with pytest.raises(KeyError, match=r"not defined for 'ade20k', only for voc20"):
        protocol('maskclip_orig').setting('ade20k')
    assert default_protocol('naclip', 'miniworld').name == 'miniworld' and 'miniworld' not in SETS
    assert default_protocol('dinotxt').weights == ('local-dir:clips/dinotxt', None)
    assert default_protocol('naclip').name == 'naclip' and default_protocol('unheard of').name == 'dinoiser'


def test_published_rows_name_what_exists() -> None:
    assert all(row.miou and set(row.miou) <= set(SETS) for row in PUBLISHED)
    assert {row.preset for row in PUBLISHED} - {''} <= {*PRESETS, 'dinoiser'}
    for row in PUBLISHED:
        assert row.source.removesuffix('second-hand') and not (row.protocol and not row.preset)
        assert row.saw and set(row.saw) <= {'captions', 'masks', 'labels', 'COCO'}
        assert all(0 < value < 100 for value in row.miou.values())
        if row.protocol:
            assert set(row.miou) <= set(protocol(row.protocol).settings), row
    found = published('voc21', preset='dinoiser', weights='ViT-B-16 laion2b_s34b_b88k', protocol='dinoiser')
    assert [row.miou['voc21'] for row in found] == [62.1]
    assert published('voc21', preset='maskclip', protocol='dinoiser') == []
    assert len({row.weights for row in published('voc20', preset='maskclip')}) == 2


def test_documented_table_is_the_data() -> None:
    """Every published row, number for number, and every setting stands in the documentation."""
    lines = (CONFIGS.parent / 'docs/protocols.md').read_text(encoding='utf-8').splitlines()
    table = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines if line.startswith('| ')]
    documented = [row[3:12] for row in table if len(row) == 13 and row[0] != 'Method' and set(row[0]) != {'-'}]
    rows = [[f'{row.miou[n]:g}' if n in row.miou else '–' for n in SETS] + [', '.join(row.saw)] for row in PUBLISHED]
    assert documented == rows
    for name, rules in PROTOCOLS.items():
        rows = [row for row in table if row[0] == f'`{name}`' and len(row) == 7]
        sizes = {f'{s.scale[0]}×{s.scale[1]}' for s in rules.settings.values()}
        assert sizes == {row[2] for row in rows} or rows[0][1] == 'as `naclip`'


@pytest.mark.parametrize('name', SETS)
def test_config_of_the_set_is_its_first_protocol(name: str) -> None:
    """configs/_base_/datasets say what the data structure says."""
    entry = SETS[name]
    config = Config.fromfile(CONFIGS / f'_base_/datasets/{entry.config_name}_448x448.py')
    assert config.val_dataloader == config.test_dataloader
    dataset = config.test_dataloader.dataset.to_dict()
    steps = [step for step in dataset.pop('pipeline') if step['type'] != 'CheckLabelRange']
    assert dataset == entry.dataset()
    assert steps == protocol('dinoiser').setting(name).pipeline()
    checks = [s['num_classes'] for s in config.test_pipeline if s['type'] == 'CheckLabelRange']
    assert checks == [entry.num_classes]
    whole = Config.fromfile(CONFIGS / f'maskclip/maskclip_vit-b16_zs_{entry.config_name}-448x448.py')
    assert whole.model.vocabulary == protocol('dinoiser').setting(name).vocabulary
    test_cfg = {k: v for k, v in whole.model.test_cfg.items() if k in ('mode', 'crop_size', 'stride')}
    assert test_cfg == protocol('dinoiser').setting(name).test_cfg()


@pytest.mark.parametrize('name', DOMAIN_SETS)
def test_sets_of_other_domains_have_list_config_and_protocol(name: str) -> None:
    entry, setting = evaluation_set(name), default_protocol('sclip', name).setting(name)
    config = Config.fromfile(CONFIGS / f'_base_/datasets/{entry.config_name}_1024x1024.py')
    assert config.val_dataloader == config.test_dataloader
    dataset = config.test_dataloader.dataset.to_dict()
    steps = dataset.pop('pipeline')
    assert dataset == entry.dataset()
    assert [step for step in steps if step['type'] != 'CheckLabelRange'] == setting.pipeline()
    assert [step['num_classes'] for step in steps if 'num_classes' in step] == [entry.num_classes]
    assert f'| `{name}` | {entry.title}' in (CONFIGS.parent / 'docs/protocols.md').read_text(encoding='utf-8')


@pytest.mark.parametrize('name', [*LARGE_SETS, *MESS_SETS])
def test_further_sets_have_a_list_a_protocol_and_a_row(name: str) -> None:
    entry = evaluation_set(name)
    assert default_protocol('sclip', name).setting(name).vocabulary == name
    assert (entry.ignore_index == 65535) is (entry.num_classes > 255)
    text = (CONFIGS.parent / 'docs/protocols.md').read_text(encoding='utf-8')
    known = 'mess_paxray_bones' if name.startswith('mess_paxray') else name  # the four have one row
    row = next(line for line in text.splitlines() if line.startswith(f'| `{known}`'))
    assert f'| {entry.num_classes} |' in row


@pytest.mark.parametrize('name', LARGE_SETS)
def test_large_sets_are_those_of_their_configs(name: str) -> None:
    entry = LARGE_SETS[name]
    dataset = Config.fromfile(CONFIGS / f'_base_/datasets/{entry.config_name}_1333x800.py').test_dataloader.dataset
    found = {key: value for key, value in dataset.to_dict().items() if key != 'pipeline'}
    assert found == entry.dataset()
    kinds = [step['type'] for step in protocol('large').setting(name).pipeline(wide=True)]
    assert 'LoadWideAnnotations' in kinds and 'LoadAnnotations' not in kinds

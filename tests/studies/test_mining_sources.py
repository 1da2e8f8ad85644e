"""Pairs from captions and from label maps, and the tool that writes them."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.registry import MODELS
from PIL import Image
from torch import Tensor

from denseclip.clip.loading import LoadedCLIP
from denseclip.datasets import CaptionedImages, MiniworldDataset
from denseclip.datasets.files import read_label_map
from denseclip.datasets.miniworld import CLASSES, write_miniworld
from denseclip.datasets.pair_store import PairStore
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.pretraining import ContrastiveCLIP
from denseclip.models.pretraining.export import export_clip
from denseclip.structures.mask_proposals import MaskProposals
from studies.mining import CaptionPairs, LabelMapPairs, PictureProposals, RegionEncoder, WordListNouns, best_regions
from studies.mining.sources import class_ids, large_masks, read_picture

TOOL = Path(__file__).parents[2] / 'tools' / 'mine_mask_pairs.py'
ARCH = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=32, patch_size=8, layers=2, width=32, head_width=8),
    text_cfg=dict(width=16, heads=2, layers=1),
)


@MODELS.register_module(force=True)
class QuarterMasks(torch.nn.Module):
    """The four quarters of a picture at a quarter of its size, and one mask without a pixel."""

    def forward(self, images: Tensor, metas: Sequence[Mapping[str, Any]]) -> MaskProposals:
        assert float(images.max()) > 2.0  # pixels in 0..255
        height, width = images.shape[-2] // 4, images.shape[-1] // 4
        logits = images.new_full((len(images), 5, height, width), -9.0)
        for k in range(4):
            rows, columns = divmod(k, 2)
            logits[:, k, rows * height // 2 :, columns * width // 2 :][:, : height // 2, : width // 2] = 9.0
        return MaskProposals(logits)


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('mining')
    write_miniworld('coco', folder / 'coco', count=5, val_count=0, size=(64, 64))
    write_miniworld('ade20k', folder / 'ade20k', count=0, val_count=3, size=(64, 64))
    return folder


def tiny_clip() -> LoadedCLIP:
    torch.manual_seed(0)
    return OpenCLIPParts('ViT-B-16', arch=ARCH).clip


def captions(root: Path) -> CaptionedImages:
    prefix = dict(img_path=str(root / 'coco/train2017'))
    return CaptionedImages(ann_file=str(root / 'coco/annotations/captions_train2017.json'), data_prefix=prefix)


def test_best_masks() -> None:
    regions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    words = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.8, 0.6]])
    word, region, score = best_regions(regions, words)
    assert (word.tolist(), region.tolist()) == ([0, 1, 2], [1, 0, 2])
    assert best_regions(regions, words, torch.tensor([True, False, True]))[1].tolist() == [2, 0, 2]
    assert best_regions(regions, words, min_score=0.97)[0].tolist() == [0, 1]
    assert best_regions(regions[:2], words, mutual=True)[0].tolist() == [0, 1]
    assert len(best_regions(regions[:0], words)[0]) == 0
    assert len(best_regions(regions, words, torch.zeros(3, dtype=torch.bool))[0]) == 0
    assert score.tolist() == pytest.approx([1.0, 1.0, 0.96])


def test_proposals_come_back_at_the_size_of_the_picture() -> None:
    masks = PictureProposals(dict(type='QuarterMasks'))(torch.full((3, 40, 48), 200.0), {'img_path': 'x.jpg'})
    assert masks.shape == (5, 40, 48)
    kept = large_masks(masks, 0.1)
    assert kept.shape[0] == 4 and kept[3, 30, 40] and not kept[3, 5, 5]
    assert len(large_masks(masks, 0.9)) == 0 and len(large_masks(masks[:0], 0.1)) == 0


def test_regions_and_words_are_unit_length_and_words_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = RegionEncoder(tiny_clip(), batch_size=2)
    masks = torch.zeros(4, 20, 20, dtype=torch.bool)
    masks[0, 2:9, 3:15] = masks[1, :4] = masks[3] = True
    regions, valid = encoder.regions(torch.rand(3, 20, 20) * 255, masks)
    assert valid.tolist() == [True, True, False, True]
    torch.testing.assert_close(regions.norm(dim=1), torch.ones(3))
    words = encoder.words(['dog', 'cat'])
    monkeypatch.setattr(encoder.bank, 'encode', None)
    assert torch.equal(encoder.words(['cat', 'dog']), words.flip(0))
    other = RegionEncoder(tiny_clip(), fill=(0, 0, 0))
    assert encoder.describe() != other.describe()


def test_captions_give_a_pair_for_every_noun(root: Path) -> None:
    data = captions(root)
    encoder, nouns = RegionEncoder(tiny_clip()), WordListNouns('miniworld')
    source = CaptionPairs(data, PictureProposals(dict(type='QuarterMasks')), encoder, nouns, captions=1)
    for index in range(len(source)):
        wanted = nouns(data.get_data_info(index)['gt_caption'][0])
        pairs = source(index)
        assert [pair.noun for pair in pairs] == wanted
        for pair in pairs:
            assert pair.title == f'a photo of a {pair.noun} in the scene' and pair.mask().shape == (64, 64)
            assert pair.mask().sum() > 600 and -1 <= pair.score <= 1 and '/' not in pair.image
    all_captions = CaptionPairs(data, PictureProposals(dict(type='QuarterMasks')), encoder, nouns)
    assert all(len(all_captions(i)) >= len(source(i)) for i in range(len(source)))
    assert source.describe() != all_captions.describe() and json.dumps(source.describe())
    with pytest.raises(ValueError, match='captions=-1'):
        CaptionPairs(data, PictureProposals(dict(type='QuarterMasks')), encoder, nouns, captions=-1)


def test_the_chosen_region_is_the_most_similar_one(root: Path) -> None:
    data, encoder = captions(root), RegionEncoder(tiny_clip())
    proposals = PictureProposals(dict(type='QuarterMasks'))
    pairs = CaptionPairs(data, proposals, encoder, WordListNouns('miniworld'))(0)
    info = data.get_data_info(0)
    image = torch.from_numpy(np.asarray(Image.open(info['img_path'])).copy()).permute(2, 0, 1).float()
    masks = large_masks(proposals(image, info), 0.001)
    scores = encoder.words([pair.noun for pair in pairs]) @ encoder.regions(image, masks)[0].T
    for pair, row in zip(pairs, scores, strict=True):
        assert (masks[row.argmax()].numpy() == pair.mask()).all() and pair.score == pytest.approx(row.max().item())


def test_other_captions_and_other_maps_are_other_settings(root: Path, tmp_path: Path) -> None:
    encoder, proposals = RegionEncoder(tiny_clip()), PictureProposals(dict(type='QuarterMasks'))

    def card(data: CaptionedImages) -> dict[str, Any]:
        return CaptionPairs(data, proposals, encoder, WordListNouns('miniworld'), captions=1).describe()

    file = root / 'coco/annotations/captions_train2017.json'
    content = json.loads(file.read_text())
    content['annotations'][0]['caption'] = 'something else'
    (tmp_path / 'other.json').write_text(json.dumps(content))
    other = CaptionedImages(ann_file=str(tmp_path / 'other.json'), data_prefix=captions(root).data_prefix)
    assert card(captions(root)) == card(captions(root)) and card(captions(root)) != card(other)

    def maps(folder: str, **options: Any) -> dict[str, Any]:
        prefix = dict(img_path='images/validation', seg_map_path=folder)
        data = MiniworldDataset(data_root=str(root / 'ade20k'), data_prefix=prefix, pipeline=[], **options)
        return LabelMapPairs(data).describe()

    first = maps('annotations/validation')
    assert first == maps('annotations/validation') and json.dumps(first)
    assert first != maps('annotations/other') and first != maps('annotations/validation', reduce_zero_label=False)


@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_pictures_are_turned_as_the_training_turns_them(tmp_path: Path, orientation: int) -> None:
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8] = 255
    image = Image.fromarray(pixels)
    tags = image.getexif()
    tags[0x0112] = orientation
    image.save(tmp_path / 'turned.jpg', exif=tags, quality=100)
    loaded = LoadImageFromFile()({'img_path': str(tmp_path / 'turned.jpg')})['img'][..., ::-1]
    mined = read_picture(tmp_path / 'turned.jpg')
    assert mined.shape == loaded.shape
    assert np.abs(mined.astype(int) - loaded).max() < 16


def test_label_maps_give_every_class_its_region(root: Path) -> None:
    prefix = dict(img_path='images/validation', seg_map_path='annotations/validation')
    data = MiniworldDataset(data_root=str(root / 'ade20k'), data_prefix=prefix, pipeline=[])
    source = LabelMapPairs(data, min_area=0.0)
    for index in range(len(source)):
        info = data.get_data_info(index)
        labels = read_label_map(info['seg_map_path']).astype(int) - 1
        pairs = source(index)
        assert [pair.noun for pair in pairs] == [CLASSES[k] for k in np.unique(labels)]
        assert all((pair.mask() == (labels == CLASSES.index(pair.noun))).all() for pair in pairs)
    assert sum(len(LabelMapPairs(data, min_area=0.3)(i)) for i in range(3)) < sum(len(source(i)) for i in range(3))
    with pytest.raises(ValueError, match='2 names for the 32 classes'):
        LabelMapPairs(data, 'a; b')


def test_ids_that_a_set_leaves_out_have_no_region() -> None:
    labels = np.array([[0, 1, 2, 255]], np.uint8)
    assert class_ids(labels, {'reduce_zero_label': True}).tolist() == [[255, 0, 1, 255]]
    assert class_ids(labels, {'label_map': {0: 255, 1: 0, 2: 1}}).tolist() == [[255, 0, 1, 255]]
    # CamVid's mapping names its void alone; all other ids stay
    assert class_ids(labels, {'label_map': {2: 255}}).tolist() == [[0, 1, 255, 255]]


def run_tool(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, 'argv', ['mine_mask_pairs.py', *arguments])
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise


def test_the_tool_mines_and_goes_on(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    torch.manual_seed(0)
    text = dict(context_length=40, width=16, heads=2, layers=1)
    model = ContrastiveCLIP(
        {**ARCH, 'text_cfg': text},
        words='miniworld',
        data_preprocessor=dict(type='ImgDataPreprocessor', mean=[122.8] * 3, std=[68.5] * 3, bgr_to_rgb=True),
    )
    (tmp_path / 'clip').mkdir()
    export_clip(model, tmp_path / 'clip')
    arguments = ['captions', str(root / 'coco/annotations/captions_train2017.json')]
    arguments += ['--images', str(root / 'coco/train2017'), '--out', str(tmp_path / 'pairs'), '--nouns', 'miniworld']
    arguments += ['--clip', f'local-dir:{tmp_path / "clip"}', '--proposer', 'type=QuarterMasks', '--chunk-size', '2']
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('WORLD_SIZE', '2')
    run_tool(monkeypatch, *arguments, '--device', 'cpu')
    assert '2 files of other processes are not written yet' in capsys.readouterr().out
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('WORLD_SIZE', '1')
    run_tool(monkeypatch, *arguments, '--device', 'cpu')
    assert 'of 3 pictures' in capsys.readouterr().out
    assert len({pair.image for pair in PairStore(tmp_path / 'pairs').read()}) == 5
    with pytest.raises(SystemExit, match='begun with other settings'):
        run_tool(monkeypatch, *arguments, '--device', 'cpu', '--min-score', '0.5')


def test_the_tool_reads_label_maps(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    arguments = ['labels', 'MiniworldDataset', '--data-root', str(root / 'ade20k'), '--images', 'images/validation']
    run_tool(monkeypatch, *arguments, '--maps', 'annotations/validation', '--out', str(tmp_path / 'pairs'))
    count = len(list(PairStore(tmp_path / 'pairs').read()))
    assert f'{count} pairs of 3 pictures, 0 unreadable' in capsys.readouterr().out

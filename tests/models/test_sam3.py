"""SAM 3: equal to transformers' own model and post-processing, whatever the number of names, windows and tasks."""

from __future__ import annotations

import functools
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from device_safety import fake_cuda, move_to_fake_cuda, segmentation_batch
from mmengine.registry import init_default_scope
from mmseg.structures import SegDataSample
from PIL import Image
from tiny_sam import SAM3, SIDE, tiny_sam3
from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.concepts import distinct, gated_maps, take_best_of_names
from denseclip.models.segmentors import SAM3Segmentor
from denseclip.weights import WeightFileError

WORDS = 'lamp = light, lantern; field; boat; sky'
SIZE = (40, 70)


@pytest.fixture(scope='module')
def model() -> SAM3Segmentor:
    init_default_scope('mmseg')
    return tiny_sam3(vocabulary=WORDS)


@pytest.fixture(autouse=True)
def as_it_was(request: pytest.FixtureRequest) -> Any:
    yield
    if 'model' in request.fixturenames:
        shared = request.getfixturevalue('model')
        shared.set_vocabulary(WORDS)
        shared.set_task('semantic')
        shared.presence, shared.fusion, shared.sam.phrases_at_once = 0.0, 'max', None


@pytest.fixture
def image() -> Tensor:
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


def samples(count: int = 1, **meta: Any) -> list[SegDataSample]:
    return [SegDataSample(metainfo=dict(ori_shape=SIZE, img_shape=(SIDE, SIDE), **meta)) for _ in range(count)]


@functools.cache
def tokenizer() -> Any:
    """CLIP's words as transformers' class for them, made of open_clip's list."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    words = SimpleTokenizer()
    specials = {'<start_of_text>': '<|startoftext|>', '<end_of_text>': '<|endoftext|>'}
    return CLIPTokenizer(
        vocab={specials.get(piece, piece): number for piece, number in words.encoder.items()},
        merges=list(words.bpe_ranks),
    )


def theirs(model: SAM3Segmentor, image: Tensor, name: str) -> Any:
    """Outputs of transformers' model for one picture and one name, each by itself, padded to 32 tokens as theirs is."""
    given = tokenizer()(name, return_tensors='pt', padding='max_length', max_length=32)
    with torch.no_grad():
        return model.sam.model(pixel_values=image, input_ids=given['input_ids'], attention_mask=given['attention_mask'])


def names_of(vocabulary: Vocabulary) -> list[list[str]]:
    return [list(entry.names) for entry in vocabulary.classes]


def plain_planes(model: SAM3Segmentor, image: Tensor, size: tuple[int, int]) -> Tensor:
    """The rules written out for one name at a time, resized as transformers resizes."""
    planes = []
    for names in names_of(model.vocabulary):
        of_class = []
        for name in names:
            out = theirs(model, image, name)
            presence = out.presence_logits.sigmoid()[0, 0]
            scores = out.pred_logits.sigmoid()[0] * presence
            plane = out.semantic_seg.sigmoid()[0, 0]
            for score, mask in zip(scores, out.pred_masks.sigmoid()[0], strict=True):
                if score > 0.3:
                    plane = torch.maximum(plane, score * mask)
            of_class.append(plane * presence)
        planes.append(torch.stack(of_class).amax(dim=0))
    return F.interpolate(torch.stack(planes)[None], size=size, mode='bilinear')[0]


def test_tokens_are_those_of_transformers(model: SAM3Segmentor) -> None:
    for phrase in ('a lamp', 'Traffic Light', "driver's seat", 'crêpe', 'tv-monitor', 'x' * 20):
        assert model.sam.tokenize([phrase])[0] == tokenizer()(phrase)['input_ids']


@pytest.mark.parametrize('at_once', [None, 1, 4])
def test_label_maps_are_the_rules_over_transformers_outputs(
    model: SAM3Segmentor, image: Tensor, at_once: int | None
) -> None:
    model.sam.phrases_at_once = at_once
    model.keep_logits = True
    found = model.predict(image, samples())[0]
    model.keep_logits = False
    wanted = plain_planes(model, image, SIZE)
    torch.testing.assert_close(found.seg_logits.data, wanted, atol=1e-5, rtol=1e-4)
    sure = wanted.topk(2, dim=0).values
    clear = (sure[0] - sure[1]) > 1e-4
    assert clear.float().mean() > 0.5 and len(found.pred_sem_seg.data.unique()) > 1
    assert torch.equal(found.pred_sem_seg.data[0][clear], wanted.argmax(dim=0)[clear])


def test_instances_are_those_of_transformers_processor(model: SAM3Segmentor, image: Tensor) -> None:
    from transformers import Sam3ImageProcessor

    model.set_vocabulary('lamp; field; boat', things=['lamp', 'boat'])
    model.set_task('instance')
    found = model.predict(image, samples())[0].pred_instances
    assert set(found.labels.tolist()) == {0, 2}
    for label, name in ((0, 'lamp'), (2, 'boat')):
        wanted = Sam3ImageProcessor().post_process_instance_segmentation(
            theirs(model, image, name), threshold=0.3, target_sizes=[SIZE]
        )[0]
        ours = found[found.labels == label]
        order = wanted['scores'].argsort(descending=True)
        torch.testing.assert_close(ours.scores, wanted['scores'][order], atol=1e-5, rtol=1e-4)
        same = (ours.masks == wanted['masks'][order].bool()).flatten(1).float().mean(dim=1)
        assert len(ours) and same.min() > 0.999


def test_the_semantic_map_alone_is_that_of_transformers_processor(model: SAM3Segmentor, image: Tensor) -> None:
    from transformers import Sam3ImageProcessor

    model.fusion, model.presence = 'semantic', None
    model.set_vocabulary(Vocabulary.of(dict(classes=['field'], background='threshold', threshold=0.5)))
    labels = model.predict(image, samples())[0].pred_sem_seg.data[0]
    wanted = Sam3ImageProcessor().post_process_semantic_segmentation(theirs(model, image, 'field'), [SIZE])[0]
    assert 0 < wanted.sum() < wanted.numel()
    assert ((labels == 0) == (wanted == 1)).float().mean() > 0.999


def test_a_batch_is_its_pictures_one_by_one(model: SAM3Segmentor) -> None:
    batch = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    together = [found.pred_sem_seg.data for found in model.predict(batch, samples(3))]
    for number, labels in enumerate(together):
        assert torch.equal(labels, model.predict(batch[number : number + 1], samples())[0].pred_sem_seg.data)


def test_phrases_are_encoded_once_until_something_changes(model: SAM3Segmentor, image: Tensor) -> None:
    first = model.text.features(model.sam)
    model.predict(image, samples())
    assert model.text.features(model.sam) is first
    model.load_state_dict(model.state_dict())
    assert model.text.features(model.sam) is not first
    model.set_vocabulary('sea')
    assert len(model.text.features(model.sam)) == 1


def test_an_absent_class_gets_pixels_only_where_all_are_absent(model: SAM3Segmentor, image: Tensor) -> None:
    index = model.text.class_index(torch.device('cpu'))
    (found,) = model.sam.find(image[0], model.text.features(model.sam))
    of_class = torch.stack([found.presence[index == k].amax() for k in range(4)])
    model.presence = float(of_class.sort().values[1:3].mean())
    there = (of_class >= model.presence).nonzero()[:, 0].tolist()
    assert 0 < len(there) < 4
    assert set(model.predict(image, samples())[0].pred_sem_seg.data.unique().tolist()) <= set(there)
    model.presence = 1.0
    nothing = model.predict(image, samples())[0].pred_sem_seg.data
    model.presence = 0.0
    assert torch.equal(nothing, model.predict(image, samples())[0].pred_sem_seg.data)


def test_gate_and_names_keep_an_order() -> None:
    maps = torch.tensor([0.2, 0.9, 0.5])[:, None, None]
    gated = gated_maps(maps, torch.tensor([0.9, 0.1, 0.05]), 0.5)[:, 0, 0]
    torch.testing.assert_close(gated, torch.tensor([0.18, -0.91, -0.975]))
    merged = torch.full((3, 1, 1), -torch.inf)
    take_best_of_names(merged, gated[1:, None, None], torch.tensor([0, 1]))
    take_best_of_names(merged, gated[:1, None, None], torch.tensor([0]))
    torch.testing.assert_close(merged[:, 0, 0], torch.tensor([0.18, -0.975, -torch.inf]))


def test_what_two_names_of_a_class_find_counts_once() -> None:
    masks = torch.zeros(4, 2, 6, dtype=torch.bool)
    masks[0, :, :3] = masks[1, :, :3] = masks[2, :, :3] = masks[3, :, 3:] = True
    kept = distinct(masks, torch.tensor([0.4, 0.9, 0.8, 0.3]), torch.tensor([0, 0, 1, 0]), torch.tensor([0, 1, 2, 0]))
    assert kept.tolist() == [1, 2, 3]


def test_of_any_objects_those_without_a_surer_rival_stay() -> None:
    draw = torch.Generator().manual_seed(0)
    masks = torch.rand(24, 3, 4, generator=draw) > 0.4
    scores, labels, names = (torch.rand(24, generator=draw), *torch.randint(0, 3, (2, 24), generator=draw))
    assert distinct(masks[:0], scores[:0], labels[:0], names[:0]).tolist() == []
    kept = distinct(masks, scores, labels, names).tolist()

    def rivals(one: int, other: int) -> bool:
        both, either = (masks[one] & masks[other]).sum(), (masks[one] | masks[other]).sum()
        return bool(labels[one] == labels[other] and names[one] != names[other] and both > 0.5 * either)

    assert 0 < len(kept) < 24 and scores[kept].tolist() == sorted(scores[kept].tolist(), reverse=True)
    assert not any(rivals(one, other) for one in kept for other in kept if one != other)
    for lost in set(range(24)) - set(kept):
        assert any(rivals(lost, one) and scores[one] > scores[lost] for one in kept)


def test_panoptic_segments_share_no_pixel_and_leave_a_background_out(model: SAM3Segmentor, image: Tensor) -> None:
    def look(words: Any) -> tuple[Tensor, list[dict[str, Any]]]:
        model.set_vocabulary(words)
        found = model.predict(image, samples())[0].pred_panoptic_seg
        assert found.data.shape == (1, *SIZE) and [one['id'] for one in found.segments_info] == list(
            range(1, len(found.segments_info) + 1)
        )
        assert set(found.data.unique().tolist()) - {0} == {one['id'] for one in found.segments_info}
        return found.data, found.segments_info

    model.set_task('panoptic')
    model.tasks.overlap_threshold = 0.1
    try:
        ids, info = look('field; lamp')
        assert {one['category_id'] for one in info} == {0, 1} or len(info) == 1
        assert [one['isthing'] for one in info] == [one['category_id'] == 1 for one in info]
        beside = Vocabulary.of(dict(classes=['lamp'], background='prompts', background_names=['field']))
        left, fewer = look(beside)
        assert all(one['category_id'] == 0 for one in fewer) and (left == 0).sum() > (ids == 0).sum()
    finally:
        model.tasks.overlap_threshold = 0.8


def test_the_number_of_instances_bounds_nothing_else(model: SAM3Segmentor, image: Tensor) -> None:
    model.set_vocabulary('lamp; field; boat', things='all')
    model.set_task(('instance', 'panoptic', 'proposals'))
    found = []
    for topk in (100, 1):
        model.tasks.topk = topk
        found.append(model.predict(image, samples())[0])
    model.tasks.topk = 100
    many, one = found
    assert len(many.pred_instances) > 1 and len(one.pred_instances) == 1
    assert torch.equal(many.pred_instances.masks[:1], one.pred_instances.masks)
    assert torch.equal(many.pred_panoptic_seg.data, one.pred_panoptic_seg.data)
    assert torch.equal(many.pred_proposals.masks, one.pred_proposals.masks)


def test_windows_average_maps_and_padding_is_cut(model: SAM3Segmentor) -> None:
    wide = torch.randn(1, 3, SIDE, SIDE + 20, generator=torch.Generator().manual_seed(2))
    model.test_cfg.update(mode='slide', crop_size=(SIDE, SIDE), stride=(SIDE, 20))
    try:
        found = model.predict(wide, [SegDataSample(metainfo=dict(ori_shape=(SIDE, SIDE + 20)))])[0]
        parts = [model.head_logits(wide[..., start : start + SIDE])[0] for start in (0, 20)]
        total = torch.zeros(4, SIDE, SIDE + 20)
        count = torch.zeros(SIDE + 20)
        for start, part in zip((0, 20), parts, strict=True):
            total[..., start : start + SIDE] += F.interpolate(part[None], size=(SIDE, SIDE), mode='bilinear')[0]
            count[start : start + SIDE] += 1
        assert torch.equal(found.pred_sem_seg.data[0], (total / count).argmax(dim=0))
        model.set_task('instance')
        with pytest.raises(ValueError, match='slide'):
            model.predict(wide)
    finally:
        model.test_cfg.mode = 'whole'
    model.set_task('semantic')
    padded = F.pad(wide[..., :30, :SIDE], (0, 0, 0, SIDE - 30))
    result = model.predict(padded, [SegDataSample(metainfo=dict(img_shape=(30, SIDE), ori_shape=(60, 112)))])[0]
    planes = F.interpolate(model.head_logits(padded), size=(SIDE, SIDE), mode='bilinear')[..., :30, :]
    assert torch.equal(
        result.pred_sem_seg.data[0], F.interpolate(planes, size=(60, 112), mode='bilinear')[0].argmax(dim=0)
    )


@pytest.mark.slow
def test_predicts_on_fake_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.sam3.modeling_sam3 import Sam3DetrDecoder

    init_default_scope('mmseg')
    bias = Sam3DetrDecoder._get_rpb_matrix  # it reads the grid's size from a tensor, which fake ones do not hold
    monkeypatch.setattr(Sam3DetrDecoder, '_get_rpb_matrix', lambda self, boxes, _: bias(self, boxes, (4, 4)))
    model = tiny_sam3(vocabulary=WORDS)
    with fake_cuda() as mode, torch.no_grad():
        move_to_fake_cuda(model, mode)
        inputs, given = segmentation_batch(1, (SIDE, SIDE), ori_shape=SIZE)
        found = model.predict(inputs, given)[0].pred_sem_seg.data
    assert found.device.type == 'cuda' and tuple(found.shape) == (1, *SIZE)


def test_refusals_say_what_to_do(model: SAM3Segmentor, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match='short noun phrase'):
        model.set_vocabulary(['word ' * 40])
    with pytest.raises(ValueError, match='noun phrases'):
        model.set_vocabulary(Vocabulary.of('lamp; sky').with_descriptions({'lamp': ['it is round']}))
    with pytest.raises(ValueError, match="background='gda'"):
        model.set_vocabulary(Vocabulary.of(dict(classes=['a'], background='gda')))
    for wrong, said in (
        (dict(fusion='sum'), 'fusion'),
        (dict(presence=2.0), 'presence'),
        (dict(threshold=-1.0), 'thr'),
    ):
        with pytest.raises(ValueError, match=said):
            SAM3Segmentor(SAM3, **wrong)
    with pytest.raises(WeightFileError, match='describe no SAM 3'):
        SAM3Segmentor(dict(vision_config='large'))
    old = types.ModuleType('transformers')
    old.__version__ = '4.40.0'  # type: ignore[attr-defined]
    for installed, said in ((old, r'4\.40\.0 does not have'), (None, 'needs transformers')):
        monkeypatch.setitem(sys.modules, 'transformers', installed)
        with pytest.raises(ImportError, match=rf'{said}.*denseclip-suite\[sam\]'):
            SAM3Segmentor(SAM3)


def test_memory_decides_how_many_phrases_run_at_once(model: SAM3Segmentor) -> None:
    assert model.sam.phrases_within(1) == 1
    assert model.sam.phrases_within(2**30) > model.sam.phrases_within(2**24) > 1


def test_pictures_arrive_as_transformers_processor_makes_them() -> None:
    from transformers import Sam3ImageProcessor

    from denseclip.apis.config import build_transforms, inference_config, inference_steps
    from denseclip.models.builder import build_module
    from denseclip.models.segmentors.sam3 import preprocessor

    cfg = inference_config(Path(__file__).parents[2] / 'configs/sam3/sam3_vit-l14_zs_ade20k-1008x1008.py')
    pixels = np.random.default_rng(0).integers(0, 255, (90, 130, 3)).astype(np.uint8)
    pixels = np.array(Image.fromarray(pixels).resize((1300, 1200)))
    packed = build_transforms(inference_steps(cfg))(dict(img=pixels[..., ::-1].copy(), ori_shape=(1200, 1300)))
    data = build_module(preprocessor((0.5,) * 3, (0.5,) * 3))(dict(inputs=[packed['inputs']], data_samples=None), False)
    wanted = Sam3ImageProcessor()(Image.fromarray(pixels), return_tensors='pt')['pixel_values']
    assert data['inputs'].shape == wanted.shape == (1, 3, 1008, 1008)
    assert (data['inputs'] - wanted).abs().max() <= 1.01 / 127.5

"""Checks of whole AnoVL runs: the authors' two scripts, with and without adaptation."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor

from denseclip.datasets.transforms import ResizePicture
from denseclip.evaluation.anomaly import aupro_200, image_measures, pixel_measures
from denseclip.models.anomaly import AnoVL, PictureScore
from denseclip.models.anomaly.adaptation import Draws
from denseclip.models.functional.anomaly_scores import cut_tiles

from .anovl_common import other_tensors, rows_first, small_clip, weights_of, with_tolerances
from .anovl_metrics import collect
from .fixtures import Fixture
from .registry import consumes


def optimizer_settings(text: str) -> dict[str, float]:
    """Learning rate and decay from ``'AdamW(lr=1e-3, betas .9/.999, eps 1e-8, wd .01), ...'``."""
    rate, decay = re.search(r'lr=([\de.-]+)', text), re.search(r'wd ([\d.]+)', text)
    assert text.startswith('AdamW') and rate and decay and 'betas .9/.999, eps 1e-8' in text, text
    return dict(lr=float(rate.group(1)), weight_decay=float(decay.group(1)))


def authors_model(fixture: Fixture) -> AnoVL:
    """The model with the settings of the script that made the fixture."""
    config = fixture.config
    # The entry that the scripts read is a V-V one, and these are all the final stream: what our model gives.
    layers, listed = config['clip']['vision_cfg']['layers'], config['features_list']
    kinds = [kind for layer in listed for kind in (('vv', 'ordinary') if layer > layers - 12 else ('single',))]
    assert kinds[config['token_index_used']] == 'vv', kinds
    adaptation = None
    if config['adapter']:
        kind = {'TextAdapter': 'text', 'Adapter': 'linear'}[config['adapter_class']]
        settings = optimizer_settings(config['optimizer'])
        adaptation = dict(kind=kind, steps=config['epochs'], carry_over=True, **settings)
    visa = config['dataset'] == 'visa'
    loaded = small_clip(config['clip'], weights_of(other_tensors(fixture, 'weights_in')))
    how = dict(views=not visa, tiles=visa, keep_ratio=visa, map_size='input')
    return AnoVL(loaded, adaptation=adaptation, **how)


def tile_inputs(preprocessed: Tensor, size: tuple[int, int]) -> Tensor:
    """The picture (1, 3, H, W) that the stored network input was cut from."""
    if len(preprocessed) == 1:
        return preprocessed
    width, side = size[1], preprocessed.shape[-1]
    return torch.cat([preprocessed[:1], preprocessed[1:, ..., 2 * side - width :]], dim=-1)


@consumes('anovl', 'e2e_mvtec_tfa', 'e2e_mvtec_tta', 'e2e_visa_tfa', 'e2e_visa_tta')
def check_end_to_end(fixture: Fixture) -> None:
    with_tolerances(fixture)
    # Two models, since the optimizer that the authors carry over must see every picture once.
    whole, parts = authors_model(fixture), authors_model(fixture)
    images = other_tensors(fixture, 'images_in')
    for name in fixture.config['classes']:
        text = whole.text_of(name)
        assert torch.allclose(text.states.T, fixture.input(f'text_prompts.{name}'), atol=1e-5)
        if fixture.has(f'in.text_prompts_list.{name}'):
            rows = rows_first(fixture.input(f'text_prompts_list.{name}'))
            assert torch.allclose(text.prompts, rows, atol=1e-5)
    answers: dict[str, list[tuple[PictureScore, np.ndarray, int]]] = {}
    for index, entry in enumerate(fixture.config['entries']):
        mask = check_picture(fixture, whole, images, index)
        answer = check_answer(fixture, whole, images, index, entry['cls_name'])
        check_steps(fixture, parts, images, index, entry['cls_name'])
        answers.setdefault(entry['cls_name'], []).append((answer, mask, entry['anomaly']))
    for name, found in answers.items():
        check_measures(fixture, name, found)


def check_measures(fixture: Fixture, name: str, found: list[tuple[PictureScore, np.ndarray, int]]) -> None:
    """The line of the authors' table for a class, from our maps and measures."""
    maps = np.stack([answer.map.numpy() for answer, _, _ in found])
    pixels = collect(maps, np.stack([mask for _, mask, _ in found]))
    scores, labels = (np.array(v) for v in zip(*((float(a.score), label) for a, _, label in found), strict=True))
    measured, picture = pixel_measures(pixels), image_measures(scores, labels, ap='trapezoid')
    ours = dict(auroc_px=measured['pixel_AUROC'], f1_px=measured['pixel_F1max'], ap_px=measured['pixel_AP'])
    ours.update(aupro=aupro_200(pixels), auroc_sp=picture['image_AUROC'], f1_sp=picture['image_F1max'])
    ours.update(aupr_sp=picture['image_AP'])
    expected = fixture.config['metrics'][name]
    assert set(ours) == set(expected)
    limit = fixture.manifest['tolerance']['metrics']['atol']
    wrong = {key: (value, expected[key]) for key, value in ours.items() if not abs(value - expected[key]) <= limit}
    assert not wrong, f'{fixture.id} {name}: {wrong}'


def draws_of(fixture: Fixture, index: int) -> Draws | None:
    """The random numbers of the authors' run."""
    if not fixture.config['adapter']:
        return None
    return Draws(*(fixture.input(f'{stem}.{index}') for stem in ('adapter_init_w', 'adapter_init_b', 'noise')))


def picture_of(fixture: Fixture, images: dict[str, Tensor], index: int) -> Tensor:
    size = tuple(fixture.tensors[f'out.anomaly_map.{index}'].shape)
    return tile_inputs(images[f'out.preprocessed.{index}'], size)


@torch.no_grad()
def check_answer(fixture: Fixture, model: AnoVL, images: dict[str, Tensor], index: int, name: str) -> PictureScore:
    """Map and score through the one call that predictions use."""
    answer = model.score_picture(picture_of(fixture, images, index), name, draws_of(fixture, index))
    fixture.expect(f'anomaly_map.{index}', answer.map)
    fixture.expect(f'image_score.{index}', answer.score)
    return answer


@torch.no_grad()
def check_steps(fixture: Fixture, model: AnoVL, images: dict[str, Tensor], index: int, name: str) -> None:
    """What lies between picture and map, where the fixture has it."""
    picture, text = picture_of(fixture, images, index), model.text_of(name)
    size = (picture.shape[-2], picture.shape[-1])
    tiles = cut_tiles(picture, model.tile_side) if model.tiles else picture
    pooled, tokens = model.embed(tiles)
    if fixture.has(f'out.tokens.{index}'):
        fixture.expect(f'tokens.{index}', tokens)
    if fixture.has(f'out.view_image_probs.{index}'):
        fixture.expect(f'view_image_probs.{index}', model.view_scores(tiles, pooled, text)[0])
    if model.adaptation is not None:
        to_map = (lambda maps: model.to_picture(maps, size)) if model.adapt_on_map else None
        adapted = model.adaptation(tokens, text, to_map, draws_of(fixture, index), owner=name)
        fixture.expect(f'losses.{index}', adapted.losses)
        if fixture.has(f'out.adapter_final_w.{index}'):
            fixture.expect(f'adapter_final_w.{index}', adapted.adapter.weight)
            fixture.expect(f'adapter_final_b.{index}', adapted.adapter.bias)


def check_picture(fixture: Fixture, model: AnoVL, images: dict[str, Tensor], index: int) -> np.ndarray:
    """The network's input and the resized mask from the decoded files, by the pipeline and the data preprocessor."""
    decoded = images[f'in.image_u8.{index}'].numpy()
    decoded = np.repeat(decoded[..., None], 3, axis=2) if decoded.ndim == 2 else decoded
    mask = images.get(f'in.mask_u8.{index}', torch.zeros(decoded.shape[:2])).numpy()
    target = model.input_shape(*decoded.shape[:2])
    resize = ResizePicture(min(target) if model.keep_ratio else target, mask=True)
    assert resize.target(*decoded.shape[:2]) == target
    results = resize(dict(img=decoded[..., ::-1], gt_mask=(mask > 0).astype(np.uint8)))
    fixture.expect(f'gt_mask.{index}', torch.from_numpy(results['gt_mask']))
    if fixture.has(f'out.preprocessed.{index}'):
        picture = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
        inputs = model.data_preprocessor(dict(inputs=[picture]))['inputs']
        fixture.expect(f'preprocessed.{index}', cut_tiles(inputs, model.tile_side) if model.tiles else inputs)
    return results['gt_mask']

"""CorrCLIP against its authors' code: the read-out within regions, and whole pictures with windows and votes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from denseclip.clip.attention import Guide
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.presets import preset
from denseclip.models.builder import build_module
from denseclip.models.functional.region_scope import RegionMaps
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.providers import DINOAffinity
from denseclip.models.providers.base import RegionProvider

from .dinoiser_variants import expect_patches, read
from .fixtures import Fixture
from .registry import consumes
from .training_free import visual_of


class RecordedDINO(nn.Module):
    """Sums of queries and keys that the authors' run had, window by window."""

    preprocess = PreprocessSpec()

    def __init__(self, features: Tensor, patch_size: int = 1) -> None:
        super().__init__()
        self.rest, self.patch_size = features, patch_size

    def forward(self, images: Tensor, tokens: bool = False) -> Any:
        del tokens
        found, self.rest = self.rest[: len(images)], self.rest[len(images) :]
        return SimpleNamespace(query=found, key=torch.zeros_like(found))


class GivenRegions(RegionProvider):
    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.numbers = numbers

    def forward(self, image: Tensor, spec: Any, size: Any, meta: Any) -> Tensor:
        assert tuple(self.numbers.shape) == tuple(size)
        return self.numbers


def regions_of(fixture: Fixture, name: str) -> Tensor:
    """Region numbers; 0 is theirs for none."""
    numbers = fixture.input(name).long()
    return torch.where(numbers == 0, -1, numbers)


def affinity(features: Tensor, patch_size: int = 1, **scope: Any) -> DINOAffinity:
    """The preset's, on recorded features."""
    settings = {**preset('corrclip').model['affinity'], 'scope': scope, 'dino': RecordedDINO(features, patch_size)}
    return DINOAffinity(**{key: value for key, value in settings.items() if key != 'type'})


@consumes('training_free', 'corrclip')
@torch.no_grad()
def check_corrclip(fixture: Fixture) -> None:
    visual, image = visual_of(fixture), fixture.input('image')
    size = (image.shape[2], image.shape[3])
    for match in list(fixture.outputs(r'dense_(\w+)')):
        numbers = regions_of(fixture, f'regions_{match.group(1)}')
        maps = RegionMaps.of([numbers], [(0, size[0], 0, size[1])], size)
        released = bool((numbers >= 0).all())  # the lowest number is theirs for none, there or not
        found = affinity(fixture.input(f'dino_{match.group(1)}'), as_released=released)(image, PreprocessSpec(), maps)
        dense = read(visual, image, dict(preset('corrclip').read_out), Guide(affinity=found))
        expect_patches(fixture, match.group(), dense)
    for name, run in fixture.config['runs'].items():
        check_picture(fixture, name, run)


def check_picture(fixture: Fixture, name: str, run: dict[str, Any]) -> None:
    """Windows, thresholds and the vote of a whole picture."""
    config = fixture.config
    parts = OpenCLIPParts('ViT-B-16', arch=fixture.sibling('weights_visual').config['clip'], quick_gelu=True)
    parts.clip.model.visual.load_state_dict(visual_of(fixture).state_dict())
    parts.has_weights = True
    names = [[f'{k} {i}' for i, owner in enumerate(config['class_index']) if owner == k] for k in range(5)]
    side, step = (config['crop'],) * 2, (config['stride'],) * 2
    windows = dict(mode='slide', crop_size=side, stride=step, window_batch=4, keep_logits=True)
    features = fixture.input(f'features_{name}')
    model = build_module(
        dict(
            type=preset('corrclip').type,
            clip=dict(parts=parts, preset='corrclip'),
            affinity=affinity(features, config['dino_patch'], as_released=run['as_released']),
            regions=GivenRegions(regions_of(fixture, f'numbers_{name}')),
            vocabulary=[(first, others) if others else first for first, *others in names],
            post=dict(prob_threshold=run['prob_threshold'], background=0),
            test_cfg=windows,
        )
    ).eval()
    model.set_class_embeddings(fixture.input('text'), model.vocabulary)
    picture = fixture.input(f'picture_{name}')
    sample = SegDataSample(metainfo={'ori_shape': tuple(fixture.input(f'numbers_{name}').shape)})
    found = model.predict(picture, [sample])[0]
    fixture.expect(f'scores_{name}', found.seg_logits.data)
    fixture.expect(f'labels_{name}', found.pred_sem_seg.data.to(fixture.tensors[f'out.labels_{name}'].dtype))

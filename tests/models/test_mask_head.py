"""What hosts ask of a mask head is all that a mask head needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_pmp_hosts import CLASSES, CLIP, HEAD, OVSEG_HEAD, RESNET
from torch import Tensor, nn

from denseclip.models.builder import build_module
from denseclip.models.functional.text_logits import text_logits
from denseclip.models.heads import OpenVocabMask2FormerHead, OpenVocabMaskFormerHead
from denseclip.models.heads.mask_head import LayerPrediction, MaskHead, MaskPredictions, PixelFeatures


@MODELS.register_module()
class ColourMaskHead(nn.Module):
    """The smallest head: each query is a filter over the finest map, and its class that filter's own embedding."""

    query_dim, num_layers, num_heads = 16, 1, 2

    def __init__(self, in_channels: Sequence[int], embed_dim: int, num_queries: int = 5) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(in_channels[0], self.query_dim, 1)
        self.queries = nn.Parameter(torch.randn(num_queries, self.query_dim))
        self.embed = nn.Linear(self.query_dim, embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def pixel_features(self, features: Sequence[Tensor]) -> PixelFeatures:
        return PixelFeatures(self.pixels(features[0]), ())

    def decode(
        self,
        pixels: PixelFeatures,
        text_rows: Tensor,
        synonyms_per_class: Tensor,
        guide: Any = None,
        *,
        all_layers: bool | None = None,
    ) -> MaskPredictions:
        queries = self.queries.expand(pixels.mask_features.shape[0], -1, -1)
        if guide is not None:
            for position in ('before_image', 'after_image', 'after_self'):
                queries = guide(0, position, queries, torch.zeros_like(queries))
        masks = torch.einsum('nqc,nchw->nqhw', queries, pixels.mask_features)
        embeddings = self.embed(queries)
        logits = text_logits(embeddings, text_rows, synonyms_per_class, self.logit_scale)
        return MaskPredictions((LayerPrediction(masks, logits, embeddings),), pixels)

    def loss(self, predictions: MaskPredictions, targets: Sequence[Any]) -> dict[str, Tensor]:
        union = [target.masks.float().amax(dim=0)[None] for target in targets]
        wanted = F.interpolate(torch.stack(union), size=predictions.last.mask_logits.shape[-2:])
        shown = predictions.last.mask_logits.amax(dim=1, keepdim=True)
        return {'loss_mask': F.binary_cross_entropy_with_logits(shown, wanted)}


def host(kind: str, head: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    config: dict[str, Any] = dict(type=kind, clip=CLIP, vocabulary=CLASSES, templates='photo')
    if 'OVSeg' in kind:
        config.update(backbone=RESNET, decode_head={'in_channels': [8, 16, 32, 64], **head})
    else:
        config['head'] = head
    if 'MAFT' in kind:
        config['transfer'] = dict(num_heads=4)
    model = build_module(config).eval()
    model.forget_pretrained()  # random weights are meant
    return model


HEADS: dict[str, dict[str, Any]] = {
    'own': dict(type='ColourMaskHead'),
    'Mask2Former': dict(HEAD, type='OpenVocabMask2FormerHead'),
    'MaskFormer': {
        'type': 'OpenVocabMaskFormerHead',
        **{key: value for key, value in OVSEG_HEAD.items() if key != 'in_channels'},
    },
}


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('kind', ['FCCLIP', 'MAFTPlus', 'OVSeg', 'PMPFCCLIP', 'PMPMAFTPlus', 'PMPOVSeg'])
def test_any_head_segments_and_learns_in_any_host(kind: str, head: str) -> None:
    model = host(kind, HEADS[head])
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found = model.predict(images, [SegDataSample()])[0].pred_sem_seg.data
    assert found.shape == (1, 64, 64) and int(found.max()) < len(CLASSES)
    sample = SegDataSample()
    sample.set_data({'gt_sem_seg': _labels()})
    losses = model.train().loss(images, [sample])
    sum(value for value in losses.values()).backward()
    learnt = [p for p in model.decode_head.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert learnt and all(math.isfinite(float(value.detach())) for value in losses.values())


def _labels() -> Any:
    from mmengine.structures import PixelData

    return PixelData(data=torch.arange(4).repeat_interleave(16)[None, :, None].expand(1, 64, 64).clone())


def test_heads_answer_to_the_protocol_and_say_their_sizes() -> None:
    sizes = dict(in_channels=[8, 16, 32, 64], embed_dim=16)
    for kind, config in ((OpenVocabMask2FormerHead, HEAD), (OpenVocabMaskFormerHead, OVSEG_HEAD)):
        head = kind(**{**config, **sizes})
        assert isinstance(head, MaskHead)
        assert (head.query_dim, head.num_layers, head.num_heads) == (32, 2, 4)
        assert head.logit_scale.numel() == 1
    assert isinstance(ColourMaskHead(**sizes), MaskHead) and not isinstance(nn.Linear(1, 1), MaskHead)

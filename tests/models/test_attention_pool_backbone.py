"""AttentionPoolBackbone: any trunk in the text space."""

import pytest
import torch
from torch import nn

from denseclip.models.backbones import AttentionPoolBackbone


class TwoStages(nn.Module):
    out_channels = (4, 8)

    def forward(self, x):
        return x[:, :1].expand(-1, 4, -1, -1), x[:, :1, ::2, ::2].expand(-1, 8, -1, -1)


def test_appends_embeddings_of_the_last_stage():
    backbone = AttentionPoolBackbone(TwoStages(), embed_dim=6, num_heads=2, spatial_size=3)
    first, second, (pooled, dense) = backbone(torch.randn(2, 3, 8, 12))
    assert first.shape == (2, 4, 8, 12) and second.shape == (2, 8, 4, 6)
    assert pooled.shape == (2, 6) and dense.shape == (2, 6, 4, 6)


def test_builds_host_trunks_from_config():
    trunk = dict(type='mmseg.ResNet', depth=18, base_channels=4, stem_channels=4)
    backbone = AttentionPoolBackbone(trunk, embed_dim=6, in_channels=32, num_heads=4, spatial_size=2)
    *stages, (pooled, _) = backbone(torch.randn(1, 3, 64, 64))
    assert len(stages) == 4 and pooled.shape == (1, 6)


def test_init_weights_reaches_the_trunk():
    called = []
    trunk = TwoStages()
    trunk.init_weights = lambda: called.append(True)
    backbone = AttentionPoolBackbone(trunk, embed_dim=6, num_heads=2)
    backbone.init_weights()
    backbone.init_weights()
    assert called == [True]


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match='in_channels'):
        AttentionPoolBackbone(nn.Identity(), embed_dim=6)
    with pytest.raises(ValueError, match='num_heads=3'):
        AttentionPoolBackbone(TwoStages(), embed_dim=6, num_heads=3)

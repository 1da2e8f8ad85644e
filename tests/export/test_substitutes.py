"""Substitutes of layers compute what the layers compute; what has no substitute is refused."""

from __future__ import annotations

import pytest
import torch
from mmseg.models.utils.wrappers import Upsample
from mmseg.registry import MODELS
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from denseclip.export import ExportError
from denseclip.export.checks import check_image_graph
from denseclip.export.graphs import write_image_graph
from denseclip.export.image_graphs import ImageGraph
from denseclip.export.substitutes import ready_for_export

CONVOLUTIONS = [(3, 2, True), (5, 2, False), (3, 3, True)]
"""Kernel, stride, bias."""


class Layers(ImageGraph):
    """Convolutions, an enlargement after each, and words that weigh the results: making several graphs takes longer."""

    def __init__(self) -> None:
        super().__init__(None)
        self.bodies = nn.ModuleList(
            nn.Sequential(
                Conv2dSame(3, 4, kernel, stride, bias=bias),
                Upsample(scale_factor=2, mode='bilinear', align_corners=False),
            )
            for kernel, stride, bias in CONVOLUTIONS
        )
        self.outputs = tuple(f'scores_{k}' for k in range(len(self.bodies)))

    def forward(self, images: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.einsum('nchw,kc->nkhw', body(images), text) for body in self.bodies)


def test_substitutes_agree_at_every_size(tmp_path):
    model, path = Layers().eval(), tmp_path / 'graph.onnx'
    write_image_graph(ready_for_export(model), path, 4, None)
    assert check_image_graph(path, model, 4, None) < 1e-5


def test_a_size_that_has_become_part_of_a_graph_is_found(tmp_path):
    """MMSegmentation's own ``Upsample`` computes sizes with Python's floats."""

    class Enlarged(ImageGraph):
        def __init__(self) -> None:
            super().__init__(None)
            self.up = Upsample(scale_factor=2, mode='bilinear', align_corners=False)

        def forward(self, images, text):
            return (torch.einsum('nchw,kc->nkhw', self.up(images), text),)

    model, path = Enlarged().eval(), tmp_path / 'graph.onnx'
    write_image_graph(model, path, 3, None)
    with pytest.raises(ExportError, match=r'1 x 224 x 224, 1 classes'):
        check_image_graph(path, model, 3, None)


def test_the_model_itself_is_not_touched():
    model = Layers().train()
    ready = ready_for_export(model)
    assert isinstance(model.bodies[0][0], Conv2dSame)
    assert model.training
    assert not ready.training
    assert not any(isinstance(module, Upsample) for module in ready.modules())


def test_an_enlargement_by_a_fraction_is_refused():
    with pytest.raises(ExportError, match='enlarges by 1.5'):
        ready_for_export(nn.Sequential(Upsample(scale_factor=1.5)))


class Swin(ImageGraph):
    """Patches, shifted windows, and four patches merged into one."""

    def __init__(self, package: str) -> None:
        super().__init__(None)
        kind = MODELS.get(f'{package}.SwinTransformer')
        self.body = kind(
            embed_dims=4, depths=[2, 1], num_heads=[1, 2], strides=(4, 2), window_size=4, out_indices=(0, 1)
        )

    def forward(self, images: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, ...]:
        fine, coarse = self.body(images)
        return torch.einsum('nchw,kc->nkhw', fine, text), coarse


@pytest.mark.parametrize('package', ['mmseg', 'mmdet'])
def test_windows_of_swin_are_those_of_the_layers(package):
    torch.manual_seed(0)
    model = Swin(package).eval()
    ready = ready_for_export(model)
    assert not any(type(part).__name__ in ('ShiftWindowMSA', 'PatchMerging') for part in ready.modules())
    for size in ((64, 96), (33, 57), (97, 131), (16, 16), (5, 40)):
        images, text = torch.randn(2, 3, *size), torch.randn(3, 4)
        with torch.no_grad():
            for found, wanted in zip(ready(images, text), model(images, text), strict=True):
                torch.testing.assert_close(found, wanted)


class Windows(ImageGraph):
    """What of Swin computes sizes: padding, shifted windows, merging. The rest of it costs time alone."""

    def __init__(self) -> None:
        super().__init__(None)
        whole = MODELS.get('mmseg.SwinTransformer')(
            embed_dims=4, depths=[2, 1], num_heads=[1, 1], strides=(4, 2), window_size=4, out_indices=(0, 1)
        )
        self.patches, self.attention = whole.patch_embed, whole.stages[0].blocks[1].attn
        self.merging = whole.stages[0].downsample
        assert self.attention.shift_size

    def forward(self, images: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, ...]:
        tokens, size = self.patches(images)
        tokens, size = self.merging(self.attention(tokens, size), size)
        return (torch.einsum('nlc,kc->nkl', tokens[..., :4], text),)


@pytest.mark.slow
def test_windows_of_swin_are_free_of_the_example(tmp_path):
    """What MMSegmentation's layers are not: exported as they are, they keep the windows of the example."""
    model, path = Windows().eval(), tmp_path / 'graph.onnx'
    write_image_graph(ready_for_export(model), path, 4, None)
    assert check_image_graph(path, model, 4, None) < 1e-4

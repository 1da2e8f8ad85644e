"""Device safety without a device: models made of fake CUDA tensors, or on ``meta``, must compute loss and predictions.

A tensor that some code creates on the CPU by default meets a CUDA tensor there and raises, as it would on a real GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental import _config as fx_config
from torch.fx.experimental.symbolic_shapes import ShapeEnv

Size = tuple[int, int]


@contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """New tensors are fake and on CUDA; sizes that depend on values (masks) become symbols."""
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True) as mode, torch.device('cuda'):
        yield mode


@contextmanager
def pretended_autocast(dtype: torch.dtype) -> Iterator[None]:
    """Autocast on CUDA where there is none: ``torch.autocast`` switches itself off there."""
    before = torch.is_autocast_enabled('cuda'), torch.get_autocast_dtype('cuda')
    torch.set_autocast_enabled('cuda', True)
    torch.set_autocast_dtype('cuda', dtype)
    try:
        yield
    finally:
        torch.clear_autocast_cache()
        torch.set_autocast_enabled('cuda', before[0])
        torch.set_autocast_dtype('cuda', before[1])


@contextmanager
def meta_device() -> Iterator[None]:
    """New tensors are on ``meta``; masks count as all true there, so that masked selection has a shape."""
    with ExitStack() as stack:
        stack.enter_context(torch.device('meta'))
        stack.enter_context(fx_config.patch(meta_nonzero_assume_all_nonzero=True))
        yield


def move_to_fake_cuda(model: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """What ``model.cuda()`` does, with fake tensors: parameters and buffers move, plain attributes stay."""
    moved: dict[int, Tensor] = {}

    def move(tensor: Tensor) -> Tensor:
        if id(tensor) not in moved:
            fake = mode.from_tensor(tensor.detach()).to('cuda')
            moved[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake
        return moved[id(tensor)]

    for module in model.modules():
        for table in (module._parameters, module._buffers):
            table.update({name: move(tensor) for name, tensor in table.items() if tensor is not None})
    return model


def segmentation_batch(batch: int, size: Size, ori_shape: Size | None = None) -> tuple[Tensor, list[SegDataSample]]:
    """Pictures and data samples with ground truth, on the device of the surrounding context."""
    samples = []
    for _ in range(batch):
        sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, *size, dtype=torch.long)))
        sample.set_metainfo(dict(img_shape=size, pad_shape=size, ori_shape=ori_shape or size))
        samples.append(sample)
    return torch.randn(batch, 3, *size), samples


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """Sum of the entries that MMEngine would add up."""
    return torch.stack([value for key, value in losses.items() if 'loss' in key]).sum()


def check_segmentor(build: Callable[[], nn.Module], size: Size = (64, 64), batch: int = 2) -> None:
    """Loss and prediction of a segmentor under fake CUDA tensors, loss and backward on ``meta``.

    Args:
        build: Makes the model, on the CPU; it is moved as a user would move it.
        size: Picture size.
        batch: Pictures per batch.
    """
    model = build().train()
    with fake_cuda() as mode:
        move_to_fake_cuda(model, mode)
        inputs, samples = segmentation_batch(batch, size)
        assert total_loss(model.loss(inputs, samples)).device.type == 'cuda'
        model.eval()
        with torch.no_grad():
            inputs, samples = segmentation_batch(1, size, ori_shape=(size[0] + 9, size[1] + 5))
            result = model.predict(inputs, samples)[0].pred_sem_seg.data
        assert result.device.type == 'cuda' and tuple(result.shape) == (1, size[0] + 9, size[1] + 5)
    model = build().to('meta').train()
    with meta_device():
        loss = total_loss(model.loss(*segmentation_batch(batch, size)))
        assert loss.device.type == 'meta'
        loss.backward()
        without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not without, f'no gradient reaches {without}'


def check_bf16(build: Callable[[], nn.Module], size: Size = (64, 64), batch: int = 2) -> None:
    """Finite losses and gradients under bfloat16 autocast on the CPU."""
    model = build().train()
    inputs, samples = segmentation_batch(batch, size)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.loss(inputs, samples)
    assert all(bool(torch.isfinite(value).all()) for value in losses.values()), losses
    total_loss(losses).backward()
    bad = [n for n, p in model.named_parameters() if p.grad is not None and not bool(torch.isfinite(p.grad).all())]
    assert not bad, f'gradients that are not finite: {bad}'

"""One switch for precision, memory layout and graphs, on every kind of model."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from device_safety import fake_cuda, move_to_fake_cuda, pretended_autocast, segmentation_batch, total_loss
from every_model import ANOMALY, EVERY_MODEL, build, look
from mmengine.registry import init_default_scope
from tiny_fcclip import semantic_samples
from torch import nn
from torch._dynamo.utils import counters

from denseclip.cli.options import LAYOUTS as LAYOUT_OPTIONS
from denseclip.cli.options import PRECISIONS as PRECISION_OPTIONS
from denseclip.core.precision import PRECISIONS, low_dtype
from denseclip.core.regions import RegionCompiler, region, run_regions, runner_of
from denseclip.engine.compute import LAYOUTS, Compute
from denseclip.engine.compute import compiler as compiler_module
from denseclip.engine.compute.regions import regions_of
from denseclip.engine.compute.weights import image_encoders

SIZES = [(64, 64), (96, 128), (128, 96)]
"""The second one makes graphs for all sizes: both of its sides are others than those of the first."""


def quick(*names: str) -> list[Any]:
    """Every model; those that are not named in slow runs alone."""
    return [pytest.param(n, marks=[] if n in names else [pytest.mark.slow]) for n in EVERY_MODEL]


TRAINED = {'DenseCLIP': 8, 'FC-CLIP': 8, 'MAFT+': 13, 'Mask-Adapter': 10, 'OVSeg': 10, 'SPAR': 5}
"""Models and the graphs of their first training step; further steps make none."""
GRAPHS = {
    'MaskCLIP': 2,
    'ResCLIP': 3,
    'CLIP-DINOiser': 4,
    'Trident': 2,
    'SPAR': 3,
    'DinoCLIP': 4,
    'MaskCLIP+': 4,
    'DenseCLIP': 7,
    'DenseCLIP, open': 7,
    'DenseCLIP RetinaNet': 7,
    'DenseCLIP Mask R-CNN': 9,
    'two stages': 2,
    'OVSeg': 12,
    'FC-CLIP': 8,
    'MAFT+': 9,
    'Mask-Adapter': 10,
    'PMP, FC-CLIP': 5,
    'PMP, MAFT+': 6,
    'PMP, OVSeg': 9,
    'PMP, Mask2Former': 10,
    'AnoVL': 4,
    'WinCLIP': 6,
    'AprilGAN': 2,
    'SAM 3': 0,  # of transformers
}
"""Graphs of the first picture: one for each region, where blocks alike share one."""


@pytest.fixture(autouse=True)
def fresh_graphs():
    init_default_scope('mmseg')
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def test_options_of_commands_are_those_of_the_switch() -> None:
    assert PRECISION_OPTIONS == PRECISIONS and LAYOUT_OPTIONS == LAYOUTS
    assert set(GRAPHS) == set(EVERY_MODEL)


@pytest.mark.parametrize('name', quick('AprilGAN'))
def test_one_graph_per_region_and_none_for_a_third_size(name: str) -> None:
    """``fullgraph`` makes every break an error; labels are those of the plain model."""
    model = build(name)
    expected = [look(name, model, size) for size in SIZES]
    Compute(compile='eager').prepare(model)
    counts = []
    for size, before in zip(SIZES, expected, strict=True):
        for key, value in look(name, model, size).items():
            # the plain model folds the norms of its neck, graphs do not: boxes and scores differ by rounding
            same = torch.allclose if value.is_floating_point() else torch.equal
            assert same(value, before[key]), (size, key)
        counts.append(counters['stats']['unique_graphs'])
    assert counts[0] == GRAPHS[name] and not counters['graph_break']
    assert counts[-1] == counts[-2], 'pictures of new sizes go on making graphs'
    Compute().prepare(model)
    assert not any(runner_of(m) or 'forward' in m.__dict__ for m in model.modules())


@dataclass
class Step:
    """What a step of training leaves."""

    loss: torch.Tensor
    gradients: dict[str, torch.Tensor]
    buffers: dict[str, torch.Tensor]
    kept: int
    """Bytes that wait for the backward pass."""


def train_step(name: str, compute: Compute, dropout: bool = True) -> Step:
    """One step of a model on drawn pictures, the same for every way to compute."""
    model = build(name)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout) and not dropout:
            module.p = 0.0
    compute.prepare(model, training=True)
    labels = (torch.arange(64) * 4 // 64).expand(2, 64, 64)
    waiting: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        if not isinstance(x, nn.Parameter):
            waiting[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    torch.manual_seed(2)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        losses = model.loss(torch.randn(2, 3, 64, 64), semantic_samples(labels))
    loss = total_loss({k: torch.stack(v).sum() if isinstance(v, list) else v for k, v in losses.items()})
    kept = sum(waiting.values())
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return Step(loss.detach(), gradients, dict(model.named_buffers()), kept)


@pytest.mark.slow
@pytest.mark.parametrize('name', TRAINED)
def test_training_step_in_graphs(name: str) -> None:
    """Losses and gradients of forward and backward graphs are those of the plain step."""
    plain = train_step(name, Compute(), dropout=False)
    compiled = train_step(name, Compute(compile='aot_eager'), dropout=False)
    assert counters['stats']['unique_graphs'] == TRAINED[name] and not counters['graph_break']
    torch.testing.assert_close(compiled.loss, plain.loss, rtol=1e-4, atol=1e-5)
    assert compiled.gradients.keys() == plain.gradients.keys()
    scale = max(g.abs().max() for g in plain.gradients.values())
    for key, gradient in plain.gradients.items():
        found = compiled.gradients[key]
        torch.testing.assert_close(found, gradient, rtol=1e-2, atol=float(1e-4 * scale), msg=key)


@pytest.mark.parametrize('name', TRAINED)
def test_activations_computed_again_change_no_number(name: str) -> None:
    """Dropout draws the same numbers again, and running means count a batch once."""
    plain = train_step(name, Compute())
    again = train_step(name, Compute(grad_checkpointing=True))
    assert torch.equal(again.loss, plain.loss)
    assert again.kept < 0.8 * plain.kept
    assert again.gradients.keys() == plain.gradients.keys()
    scale = max(g.abs().max() for g in plain.gradients.values())
    for key, gradient in plain.gradients.items():
        torch.testing.assert_close(again.gradients[key], gradient, rtol=1e-5, atol=float(1e-6 * scale), msg=key)
    for key, buffer in plain.buffers.items():
        assert torch.equal(again.buffers[key], buffer), key


@pytest.mark.parametrize('name', quick('MaskCLIP', 'FC-CLIP', 'DenseCLIP', 'WinCLIP'))
def test_rounded_weights_change_no_number(name: str) -> None:
    """Autocast would round them in every pass."""
    model = build(name)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        expected = look(name, model, (64, 64))
    compute = Compute('bf16', layout='contiguous')
    compute.prepare(model)
    with compute.running(model):
        found = look(name, model, (64, 64))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0, equal_nan=True, msg=key)
    assert any(p.dtype == torch.bfloat16 for e in image_encoders(model) for p in e.parameters())


@pytest.mark.parametrize('name', quick('FC-CLIP', 'DenseCLIP'))
@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_layout_moves_no_label(name: str, precision: Any) -> None:
    results = []
    for layout in ('contiguous', 'channels_last'):
        model = build(name)
        compute = Compute(precision, layout)
        compute.prepare(model)
        with compute.running(model):
            results.append(look(name, model, (64, 96)))
    for key, value in results[0].items():
        if value.is_floating_point():
            tolerance = 1e-3 if precision == 'fp32' else 0.1
            assert value.shape == results[1][key].shape or name.startswith('DenseCLIP ')
            if value.shape == results[1][key].shape:
                close = (value - results[1][key]).abs() <= tolerance * value.abs().amax().clamp_min(1)
                assert close.float().mean() > 0.9, key
        elif key == 'labels' and 'bboxes' not in results[0]:
            assert (value == results[1][key]).float().mean() > (0.999 if precision == 'fp32' else 0.85)


def test_auto_layout_is_channels_last_in_low_precision_alone() -> None:
    def filters(compute: Compute) -> list[nn.Conv2d]:
        model = build('FC-CLIP')
        compute.prepare(model)
        found = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1) and m.groups == 1]
        assert found
        return found

    last = [m.weight.is_contiguous(memory_format=torch.channels_last) for m in filters(Compute('bf16'))]
    assert any(last) and not all(last)  # its pixel decoder stays
    assert not any(m.weight.is_contiguous(memory_format=torch.channels_last) for m in filters(Compute()))


@pytest.mark.parametrize('name', ['MaskCLIP', 'WinCLIP'])
def test_int8_is_near_to_full_precision(name: str) -> None:
    model = build(name)
    expected = look(name, model, (64, 64))
    Compute('int8-dynamic').prepare(model)
    assert any('quantized' in type(m).__module__ for m in model.modules())
    found = look(name, model, (64, 64))
    for key, value in found.items():
        if key == 'labels':
            assert (value == expected[key]).float().mean() > 0.8
        else:
            torch.testing.assert_close(value, expected[key], rtol=0, atol=0.05)


def test_refusals_say_what_to_do_instead() -> None:
    model = build('DenseCLIP')
    for compute, training, told in (
        (dict(precision='fp16'), False, 'use bf16'),
        (dict(precision='int8-dynamic'), False, 'none in its image encoder: use bf16'),
        (dict(precision='int8-dynamic'), True, 'no gradients'),
        (dict(compile='nonsense'), False, "backend 'nonsense' is unknown; there are"),
    ):
        with pytest.raises(ValueError, match=told):
            Compute(**compute).prepare(model, training=training)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='must be one of fp32, bf16, fp16, int8-dynamic'):
        Compute('fp8')  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='must be one of auto, contiguous, channels_last'):
        Compute(layout='nhwc')  # type: ignore[arg-type]


def test_without_a_compiler_the_backend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler_module.shutil, 'which', lambda name: None)
    with pytest.raises(ValueError, match=r"backend 'inductor' writes C\+\+, and no compiler is here"):
        Compute(compile=True).prepare(build('AprilGAN'))
    Compute(compile='eager').prepare(build('AprilGAN'))


def test_copies_and_checkpoints_are_those_of_the_plain_model() -> None:
    model = build('FC-CLIP')
    names = list(model.state_dict())
    Compute(compile='eager').prepare(model)
    assert list(model.state_dict()) == names
    twin = copy.deepcopy(model)
    whole, _ = regions_of(twin)
    assert whole and all(module.forward.__self__ is module for module in whole)
    assert isinstance(pickle.loads(pickle.dumps(RegionCompiler('eager'))), RegionCompiler)


def test_a_region_is_compiled_for_its_module_alone() -> None:
    calls = []

    @region
    def double(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        calls.append(torch.compiler.is_compiling())
        return 2 * x

    plain, fast = nn.Identity(), nn.Identity()
    run_regions([fast], RegionCompiler('eager'), forward=False)
    one = torch.ones(2)
    assert torch.equal(double(plain, one), double(fast, one))
    assert calls[0] is False and counters['stats']['unique_graphs'] == 1


VALUES_DECIDE = ('two stages', 'OVSeg', 'PMP, Mask2Former', 'SAM 3', 'Trident')
"""Models that fake tensors cannot run: the crops of two stages and Trident's prompts are chosen by values, and
MMDetection's pixel decoder and transformers' SAM 3 ask for a size as a tensor."""


DETECTORS = ('DenseCLIP RetinaNet', 'DenseCLIP Mask R-CNN')
"""Boxes are kept by values: of these the layers run, not what is made of them."""


def answer_on_a_device(name: str, model: nn.Module) -> torch.Tensor:
    """What a model says of a picture."""
    inputs, samples = segmentation_batch(1, (64, 64))
    if name in ANOMALY:
        return model(inputs)[0].map
    if name in DETECTORS:
        return model.extract_feat(inputs)[0][0]
    return model.predict(inputs, samples)[0].pred_sem_seg.data


FLOAT16 = ('AprilGAN', 'DenseCLIP', 'DenseCLIP RetinaNet', 'FC-CLIP', 'MaskCLIP')
"""One of each kind: no module asks which of the two low precisions it computes in."""


@pytest.mark.parametrize(
    ('name', 'precision'),
    [
        pytest.param(n, p, marks=[] if n == 'AprilGAN' else pytest.mark.slow)
        for n in EVERY_MODEL
        if n not in VALUES_DECIDE
        for p in (['bf16', 'fp16'] if n in FLOAT16 else ['bf16'])
    ],
)
def test_precisions_on_a_device(name: str, precision: Any) -> None:
    """Under fake CUDA tensors: what autocast and rounded weights compute lies where it belongs, in every kind."""
    model = build(name)
    compute = Compute(precision, 'channels_last')
    with fake_cuda() as mode, torch.no_grad():
        move_to_fake_cuda(model, mode)
        compute.prepare(model)
        with compute.running(model), pretended_autocast(low_dtype(precision)):
            found = answer_on_a_device(name, model)
    assert found.device.type == 'cuda'


def test_every_kind_is_counted() -> None:
    assert set(ANOMALY) < set(EVERY_MODEL)

"""DenseCLIP's authors' code, written for MMSegmentation 0.x, beside the suite's.

Its package has the name of the suite's, so it is imported under another; what it takes from the old host is put where
it looks for it. The authors encode the text anew for every window; in rows whose name ends in ``once``, once. In a
training step their text tower gets gradients, which its learning rate of 0 throws away; the suite's is frozen.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from studies.peers.precision import in_precision
from studies.peers.steps import gradients_as_values, label_map, trains, without_chance
from studies.peers.theirs import Run, host_stack, picture, stub

PACKAGE = 'authors_denseclip'
CONFIGS = {
    'rn50': ('denseclip_fpn_res50_512x512_80k', 'denseclip_fpn_clip-r50_80k_ade20k-512x512'),
    'vit': ('denseclip_fpn_vit-b_640x640_80k', 'denseclip_fpn_clip-vit-b16_80k_ade20k-640x640'),
}


def config_of(request: dict[str, Any]) -> tuple[str, str]:
    """The authors' config file and the suite's."""
    return CONFIGS[request['family'].split('_')[1]]


def state_file(request: dict[str, Any]) -> Path:
    """Where the peer leaves its weights for the suite."""
    return Path(request['scratch']) / f'{request["family"]}.pt'


def load_package(folder: Path) -> Any:
    """Their package under its other name, on the present MMSegmentation."""
    resize = importlib.import_module('mmseg.models.utils')
    stub('mmseg.core', add_prefix=importlib.import_module('mmseg.utils').add_prefix)
    stub('mmseg.ops', resize=resize.resize, Upsample=resize.Upsample)
    layers = importlib.import_module('timm.layers')
    stub('timm.models.layers', **{name: getattr(layers, name) for name in ('drop', 'drop_path', 'trunc_normal_')})
    registry = importlib.import_module('mmengine.registry').Registry
    register = registry._register_module
    # Names of theirs that the present host has given to other modules are theirs here.
    registry._register_module = lambda self, module, module_name=None, force=False: register(
        self, module, module_name, True
    )
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / '__init__.py', submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    head = importlib.import_module('mmseg.models.decode_heads.decode_head').BaseDecodeHead
    head.forward_test = lambda self, inputs, *_: self(inputs)
    package.DenseCLIP.__abstractmethods__ = frozenset()
    return package


def truth(request: dict[str, Any]) -> Any:
    """Labels of a training step."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    labels = label_map(request['size'], len(request['names']))
    return SegDataSample(gt_sem_seg=PixelData(data=labels[None]), metainfo={'img_shape': tuple(request['size'])})


def draw(model: nn.Module) -> None:
    """Random weights everywhere: some of theirs are not set before a checkpoint is read."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)


def theirs(request: dict[str, Any]) -> Run:
    """The authors' model, run as their tests run it."""
    host_stack()
    from mmengine.config import Config

    root = Path(request['checkout']) / 'segmentation'
    package = load_package(root / 'denseclip')
    settings = Config.fromfile(root / 'configs' / f'{config_of(request)[0]}.py').model
    settings.pop('type')
    settings.pretrained, settings.class_names = None, request['names']
    settings.decode_head.norm_cfg = dict(type='BN', requires_grad=True)
    settings.backbone.drop_path_rate = 0.0
    model: Any = package.DenseCLIP(**settings).train(trains(request))
    draw(model)
    torch.save(model.state_dict(), state_file(request))
    if request['family'].endswith('once'):
        text = model.text_encoder(model.texts, model.contexts)
        model.text_encoder.forward = lambda *_: text
    inputs = picture(request)
    if trains(request):
        without_chance(model)
        head = importlib.import_module('mmseg.models.decode_heads.decode_head').BaseDecodeHead
        samples = [truth(request)]
        head.forward_train = lambda self, inputs, *_: self.loss_by_feat(self(inputs), samples)

        def step() -> Tensor:
            with torch.enable_grad():
                return gradients_as_values(model.forward_train(inputs, None, None), model)

        return step
    meta = [dict(ori_shape=(*request['out'], 3), flip=False)]
    return lambda: model.inference(inputs, meta, True).argmax(dim=1)[0]


def ours(request: dict[str, Any]) -> Run:
    """The suite's model with the authors' weights."""
    from mmengine.registry import DefaultScope
    from mmseg.structures import SegDataSample

    from denseclip.engine.config import load_config
    from denseclip.models.builder import build_module
    from denseclip.weights import load_into
    from denseclip.weights.convert import convert

    path = Path(__file__).parents[2] / 'configs' / 'denseclip' / f'{config_of(request)[1]}.py'
    config = load_config(str(path)).model
    config.vocabulary = request['names']
    for part in ('backbone', 'text_encoder'):
        config[part].pretrained = None
    config.decode_head.norm_cfg = dict(type='BN', requires_grad=True)
    if 'drop_path_rate' in config.backbone:
        config.backbone.drop_path_rate = 0.0
    with DefaultScope.overwrite_default_scope('mmseg'):
        model: Any = build_module(config).train(trains(request))
    load_into(model, convert(torch.load(state_file(request), weights_only=True), 'denseclip'), source='the authors')
    inputs, size = picture(request), tuple(request['out'])
    if trains(request):
        without_chance(model)
        samples = [truth(request)]

        def step() -> Tensor:
            with torch.enable_grad():
                return gradients_as_values(model.loss(inputs, samples), model)

        return step

    def run() -> Tensor:
        sample = SegDataSample(metainfo={'ori_shape': size, 'img_shape': tuple(request['size'])})
        return model.predict(inputs, [sample])[0].pred_sem_seg.data[0]

    return in_precision(model, request, run)

"""The peers' side: their modules from a checkout, loaded on the CPU in float32, with the row's weights.

What is set aside for that, in the process of the peer only: requests for a GPU and for half precision, downloads of
weights, and imports of parts that a row does not use. Their sentences for class names are replaced by the row's one,
since text is no part of what is timed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Run = Callable[[], Tensor]
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def build(request: dict[str, Any]) -> Run:
    """The peer of a row; a call gives the label map (H, W) of the picture."""
    host_stack()
    return _FAMILIES[request['family']](request)


def host_stack() -> None:
    """Let old imports pass on a current stack: no compiled operators of mmcv, of which none is run."""
    if importlib.util.find_spec('mmcv') and importlib.util.find_spec('mmcv._ext') is None:
        importlib.import_module('denseclip.compat').install()
    # OpenAI's clip.py takes ``packaging`` from a place where it no longer is.
    vars(importlib.import_module('pkg_resources'))['packaging'] = importlib.import_module('packaging')


def stub(name: str, **content: Any) -> types.ModuleType:
    """Put a module of this name where imports look first."""
    module = types.ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
    parent, _, child = name.rpartition('.')
    if parent and parent in sys.modules:
        setattr(sys.modules[parent], child, module)
    return module


def stay_in_float32() -> None:
    """Requests for half precision and for a GPU leave tensors and modules as they are."""
    torch.Tensor.half = nn.Module.half = lambda self: self  # type: ignore[method-assign, assignment]
    torch.Tensor.cuda = nn.Module.cuda = lambda self, *_, **__: self  # type: ignore[method-assign, assignment]


def stay_on_cpu() -> None:
    """Requests for a GPU leave tensors and modules where they are."""
    move: Callable[..., Tensor] = torch.Tensor.to

    def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return move(self, *('cpu' if str(argument).startswith('cuda') else argument for argument in args), **kwargs)

    torch.Tensor.to = to  # type: ignore[method-assign, assignment]
    torch.Tensor.cuda = nn.Module.cuda = lambda self, *_, **__: self  # type: ignore[method-assign, assignment]


def picture(request: dict[str, Any], normalised: bool = True) -> Tensor:
    """The picture (1, 3, H, W), RGB in 0..1, or as CLIP takes it."""
    pixels = torch.from_numpy(np.load(request['picture']))
    if not normalised:
        return pixels
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    return (pixels - mean) / std


def name_file(request: dict[str, Any]) -> str:
    """Class names as their files hold them, one a line."""
    path = Path(request['scratch']) / 'names.txt'
    path.write_text('\n'.join(request['names']), encoding='utf-8')
    return str(path)


def one_sentence(request: dict[str, Any]) -> None:
    """Their list of sentences is the row's one."""
    templates = importlib.import_module('prompts.imagenet_template')
    vars(templates)['openai_imagenet_template'] = [request['template'].format]


def predictor(model: Any, request: dict[str, Any]) -> Run:
    """A segmentor's own prediction, with the original size in the sample."""
    from mmseg.structures import SegDataSample

    inputs, size = picture(request), tuple(request['out'])

    def run() -> Tensor:
        sample = SegDataSample(metainfo={'ori_shape': size})
        return model.predict(inputs, [sample])[0].pred_sem_seg.data[0]

    return run


def slide_settings(request: dict[str, Any]) -> dict[str, int]:
    """Windows under the names of the family."""
    window = request['window'] or (0, 0)
    return dict(slide_crop=window[0], slide_stride=window[1])


def sclip(request: dict[str, Any]) -> Run:
    """SCLIP."""
    one_sentence(request)
    module = importlib.import_module('clip_segmentor')
    settings = dict(name_path=name_file(request), device=torch.device('cpu'), **slide_settings(request))
    return predictor(module.CLIPForSegmentation(request['weights']['clip'], **settings), request)


def naclip(request: dict[str, Any]) -> Run:
    """NACLIP."""
    one_sentence(request)
    module = importlib.import_module('naclip')
    settings = dict(name_path=name_file(request), device=torch.device('cpu'), **slide_settings(request))
    settings['pamr_steps'] = 10 if request['pamr'] else 0
    return predictor(module.NACLIP(request['weights']['clip'], **settings), request)


def resclip(request: dict[str, Any]) -> Run:
    """ResCLIP with the weights of its configuration for VOC."""
    stay_in_float32()
    stay_on_cpu()
    one_sentence(request)
    module = importlib.import_module('resclip_segmentor')
    settings = dict(name_path=name_file(request), device=torch.device('cpu'), **slide_settings(request))
    settings.update(temp_thd=0.5, delete_same_entity=True, attn_rcs_weights=[2.0, 0.3], attn_sfr_weights=[2.2, 0.7])
    return predictor(module.ResCLIPSegmentation(request['weights']['clip'], **settings), request)


def their_open_clip(request: dict[str, Any]) -> None:
    """Their copy of open_clip builds CLIP from the row's file."""
    openai, package = (importlib.import_module(name) for name in ('open_clip.openai', 'open_clip'))

    def create_model(*_: Any, **__: Any) -> nn.Module:
        model = openai.build_model_from_openai_state_dict(
            torch.load(request['weights']['clip'], weights_only=True), cast_dtype=torch.float32
        )
        return model.float().eval()

    vars(package)['create_model'] = create_model


def clearclip(request: dict[str, Any]) -> Run:
    """ClearCLIP."""
    stay_in_float32()
    for name in ('BLIP', 'BLIP.models'):
        stub(name, __path__=[])
    stub('BLIP.models.blip_retrieval', blip_retrieval=None)
    stub('gem')
    their_open_clip(request)
    one_sentence(request)
    module = importlib.import_module('clearclip_segmentor')
    settings = dict(name_path=name_file(request), device=torch.device('cpu'), **slide_settings(request))
    return predictor(module.ClearCLIPSegmentation('CLIP', 'ViT-B/16', 'ClearCLIP', **settings), request)


def proxyclip(request: dict[str, Any]) -> Run:
    """ProxyCLIP with DINO ViT-B/8."""
    stay_in_float32()
    stub('segment_anything', sam_model_registry={})
    stub('mae', __path__=[], models_vit=None)
    stub('mae.pos_embed', interpolate_pos_embed=None)
    their_open_clip(request)
    one_sentence(request)

    def load(*_: Any, **__: Any) -> nn.Module:
        sys.path.insert(0, str(Path(request['checkout']).parent / 'dino'))
        vit = importlib.import_module('vision_transformer').vit_base(patch_size=8, num_classes=0)
        vit.load_state_dict(torch.load(request['weights']['dino'], weights_only=True))
        return vit

    torch.hub.load = load
    module = importlib.import_module('proxyclip_segmentor')
    settings = dict(name_path=name_file(request), device=torch.device('cpu'), **slide_settings(request))
    return predictor(module.ProxyCLIPSegmentation('openai', 'ViT-B/16', 'dino', **settings), request)


def installed_open_clip(request: dict[str, Any]) -> nn.Module:
    """CLIP with the row's weights from the open_clip that the peer has."""
    openai = importlib.import_module('open_clip.model')
    state = torch.load(request['weights']['clip'], weights_only=True)
    return openai.build_model_from_openai_state_dict(state, cast_dtype=torch.float32).float().eval()


def gem(request: dict[str, Any]) -> Run:
    """GEM."""
    import open_clip

    stub('matplotlib', __path__=[])
    stub('matplotlib.pyplot')
    wrapper = importlib.import_module('gem.gem_wrapper')
    model = wrapper.GEMWrapper(installed_open_clip(request), open_clip.get_tokenizer('ViT-B-16')).eval()
    text = model.encode_text(request['names'])
    model.encode_text = lambda _: text  # it encodes the words anew for every picture
    inputs, size = picture(request), tuple(request['out'])

    def run() -> Tensor:
        scores = model(inputs, request['names'], normalize=False)
        return nn.functional.interpolate(scores, size=size, mode='bilinear', align_corners=False)[0].argmax(dim=0)

    return run


def dinoiser_package(request: dict[str, Any]) -> Any:
    """Their package of models, with what it takes from old versions of its libraries."""
    import mmcv.utils
    import open_clip
    import yaml
    from mmengine.registry import Registry

    stay_in_float32()
    mmcv.utils.Registry = Registry
    stub('mmseg.ops', resize=nn.functional.interpolate)
    omega = types.SimpleNamespace(
        load=lambda path: yaml.safe_load(Path(path).read_text()), to_container=lambda c, **_: c
    )
    stub('omegaconf', OmegaConf=omega)
    open_clip.create_model_from_pretrained = lambda *_, **__: (installed_open_clip(request), None)
    package = importlib.import_module('models')
    head = sys.modules['models.maskclip.maskclip'].MaskClipHead
    sentence = request['template']

    def embed(self: Any, text_model: Any, label: str) -> Tensor:
        return nn.functional.normalize(text_model.encode_text(self.tokenizer(sentence.format(label))), dim=-1)[0]

    head._embed_label = embed
    return package


def maps_to_labels(model: nn.Module, request: dict[str, Any]) -> Run:
    """Their probabilities at the patches, resized to the picture as their evaluation does."""
    inputs, size = picture(request, normalised=False), tuple(request['out'])

    def run() -> Tensor:
        scores = nn.functional.interpolate(model(inputs), size=inputs.shape[-2:], mode='bilinear', align_corners=False)
        return nn.functional.interpolate(scores, size=size, mode='bilinear', align_corners=False)[0].argmax(dim=0)

    return run


def maskclip(request: dict[str, Any]) -> Run:
    """MaskCLIP as CLIP-DINOiser has it."""
    package = dinoiser_package(request)
    config = _dinoiser_config(request, 'maskclip')
    return maps_to_labels(package.build_model(config, class_names=request['names']).eval(), request)


def dinoiser(request: dict[str, Any]) -> Run:
    """CLIP-DINOiser."""
    package = dinoiser_package(request)
    os.chdir(request['checkout'])  # it reads its configs from there
    config = _dinoiser_config(request, 'clip_dinoiser')
    model = package.build_model(config, class_names=request['names']).eval()
    head = torch.load(request['weights']['dinoiser'], weights_only=True)
    missing = model.load_state_dict(head, strict=False)
    assert not missing.unexpected_keys, missing.unexpected_keys
    return maps_to_labels(model, request)


def _dinoiser_config(request: dict[str, Any], name: str) -> dict[str, Any]:
    import yaml

    text = (Path(request['checkout']) / 'configs' / f'{name}.yaml').read_text(encoding='utf-8')
    return yaml.safe_load(text)['model']


_FAMILIES: dict[str, Callable[[dict[str, Any]], Run]] = {
    'sclip': sclip,
    'naclip': naclip,
    'resclip': resclip,
    'clearclip': clearclip,
    'proxyclip': proxyclip,
    'gem': gem,
    'maskclip': maskclip,
    'dinoiser': dinoiser,
}

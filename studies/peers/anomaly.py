"""WinCLIP in anomalib, AnoVL and APRIL-GAN beside the suite's: a picture's map, and its score as one more line of it.

The state of the peer's model, random, is written to the row's folder and read by the suite. The two states of the
object are random unit vectors on both sides, since text is no part of what is timed.
"""

from __future__ import annotations

import importlib
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from studies.peers.precision import in_precision
from studies.peers.theirs import Run, host_stack, picture, stay_on_cpu, stub

PLUS, BASE = 'ViT-B-16-plus-240', 'ViT-B-16'
LAYERS = (3, 6, 9, 12)


def states(width: int) -> Tensor:
    """Unit vectors of good and bad, (2, width)."""
    return F.normalize(torch.randn(2, width, generator=torch.Generator('cpu').manual_seed(1)), dim=-1)


def with_score(pixels: Tensor, score: Tensor) -> Tensor:
    """A map (H, W) with the score as its last line, (H + 1, W): where the score differs, a line of them does."""
    return torch.cat([pixels, score.reshape(1, 1).expand(1, pixels.shape[-1])])


def state_file(request: dict[str, Any], name: str) -> Path:
    """Where the peer leaves its weights for the suite."""
    return Path(request['scratch']) / f'{request["family"]}_{name}.pt'


def their_winclip(request: dict[str, Any]) -> Run:
    """Zero-shot WinCLIP of anomalib; of the package only that model is imported, which needs no Lightning."""
    root = next(Path(path) / 'anomalib' for path in sys.path if (Path(path) / 'anomalib').is_dir())
    for name in ('', '.models', '.models.image', '.models.image.winclip', '.models.components'):
        stub(f'anomalib{name}', __path__=[str(root.joinpath(*name.split('.')))])
    stub('anomalib.models.components.base', __path__=[str(root / 'models' / 'components' / 'base')])
    components = sys.modules['anomalib.models.components']
    for file, name in (('buffer_list', 'BufferListMixin'), ('dynamic_buffer', 'DynamicBufferMixin')):
        base = importlib.import_module(f'anomalib.models.components.base.{file}')
        setattr(components, name, getattr(base, name))
    stub('anomalib.data', InferenceBatch=namedtuple('InferenceBatch', 'pred_score anomaly_map'))
    module: Any = importlib.import_module('anomalib.models.image.winclip.torch_model')
    vars(module)['PRETRAINED'] = None
    model = module.WinClipModel().eval()
    torch.save(model.clip.state_dict(), state_file(request, 'clip'))
    model._text_embeddings = states(model.clip.visual.output_dim)
    inputs = picture(request)

    def run() -> Tensor:
        answer = model(inputs)
        return with_score(answer.anomaly_map[0], answer.pred_score[0])

    return run


def their_anovl(request: dict[str, Any]) -> Run:
    """AnoVL without its adaptation: the map, and the score of 22 views in one batch, as its script has them."""
    host_stack()
    package, heads, views = (importlib.import_module(name) for name in ('open_clip', 'model', 'utils'))
    side = request['size'][0]
    model = package.create_model(PLUS, side).eval()
    torch.save(model.state_dict(), state_file(request, 'clip'))
    width = model.visual.proj.shape[1]
    layer = heads.LinearLayer(model.visual.conv1.out_channels, width, len(LAYERS), PLUS, model)
    text, inputs = states(width).T[None], picture(request)

    def run() -> Tensor:
        pooled, _ = model.encode_image(views.aug(inputs), list(LAYERS))
        score = (F.normalize(pooled, dim=-1) @ text[0]).softmax(dim=-1).mean(dim=0)[0, 1]
        _, tokens = model.encode_image(inputs, list(LAYERS))
        patches = F.normalize(layer(tokens)[6], dim=-1)
        grid = round(patches.shape[1] ** 0.5)
        scores = (patches.unflatten(1, (grid, grid)) @ text).softmax(dim=-1)[..., 1].unsqueeze(1)
        smooth = F.avg_pool2d(F.pad(scores, (1, 1, 1, 1), 'replicate'), 3, stride=1)
        return with_score(F.interpolate(smooth, size=side, mode='bilinear', align_corners=True)[0, 0], score)

    return run


def their_april_gan(request: dict[str, Any]) -> Run:
    """APRIL-GAN's linear layers on four blocks, as its script reads them."""
    stay_on_cpu()
    package, heads = (importlib.import_module(name) for name in ('open_clip', 'model'))
    side, path = request['size'][0], state_file(request, 'clip')
    model = package.create_model(BASE, 224)
    torch.save(model.state_dict(), path)
    model = package.create_model(BASE, side, pretrained=str(path)).eval()
    width = model.visual.proj.shape[1]
    layer = heads.LinearLayer(model.visual.conv1.out_channels, width, len(LAYERS), BASE).eval()
    torch.save({'trainable_linearlayer': layer.state_dict()}, state_file(request, 'heads'))
    text, inputs = states(width).T, picture(request)

    def run() -> Tensor:
        pooled, tokens = model.encode_image(inputs, list(LAYERS))
        score = (100.0 * F.normalize(pooled, dim=-1) @ text).softmax(dim=-1)[0, 1]
        maps = []
        for patches in layer(tokens):
            logits = 100.0 * F.normalize(patches, dim=-1) @ text
            grid = round(logits.shape[1] ** 0.5)
            logits = logits.permute(0, 2, 1).unflatten(2, (grid, grid))
            up = F.interpolate(logits, size=side, mode='bilinear', align_corners=True)
            maps.append(up.softmax(dim=1)[0, 1])
        return with_score(torch.stack(maps).mean(dim=0), score)

    return run


def our_model(request: dict[str, Any], kind: str, model: str, **settings: Any) -> Run:
    """A model of the suite with the peer's weights."""
    from denseclip.models import anomaly
    from denseclip.models.anomaly.state_text import StateText

    clip = dict(model=model, pretrained=str(state_file(request, 'clip')))
    built = getattr(anomaly, kind)(clip=clip, **settings).eval()
    rows = states(built.image_tower.embed_dim)
    built.text_of = lambda _: StateText(rows, rows)
    inputs = picture(request)

    def run() -> Tensor:
        answer = built.score_picture(inputs, 'part')
        return with_score(answer.map, answer.score)

    return in_precision(built, request, run)


def theirs(request: dict[str, Any]) -> Run:
    """The peer of a row."""
    peers: dict[str, Callable[[dict[str, Any]], Run]] = {
        'winclip': their_winclip,
        'anovl': their_anovl,
        'april_gan': their_april_gan,
    }
    return peers[request['family']](request)


def ours(request: dict[str, Any]) -> Run:
    """The suite's model of a row."""
    if request['family'] == 'winclip':
        return our_model(request, 'WinCLIP', PLUS)
    if request['family'] == 'anovl':
        return our_model(request, 'AnoVL', PLUS)
    heads = dict(layers=LAYERS, heads=str(state_file(request, 'heads')), image_size=request['size'][0])
    return our_model(request, 'AprilGAN', BASE, **heads)

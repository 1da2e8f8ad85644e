"""OVSeg on detectron2 beside the suite's, as :mod:`studies.peers.masks` does it for models on a CLIP trunk."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studies.peers.masks import (
    describe,
    input_of,
    our_truth,
    seen,
    sharpen,
    start_detectron2,
    state_file,
    text_rows,
    their_truth,
)
from studies.peers.precision import in_precision
from studies.peers.steps import gradients_as_values, trains, without_chance
from studies.peers.theirs import Run, picture

CONFIG = 'ovseg_swinB_vitL_bs32_120k.yaml'
QUERIES = 8
"""Each of their masks is a picture to CLIP; a training, in which CLIP's image tower has no part, has all 100."""


def theirs(request: dict[str, Any]) -> Run:
    """OVSeg from its config file; the CLIP comes from the row's file, as the authors load OpenAI's."""
    from studies.peers.weights import write_clip

    root = Path(request['checkout'])
    sys.path.insert(0, str(root / 'third_party' / 'CLIP'))
    cfg = start_detectron2('open_vocab_seg', str(root))
    importlib.import_module('open_vocab_seg.modeling')
    importlib.import_module('open_vocab_seg.ovseg_model')
    importlib.import_module('open_vocab_seg.config').add_ovseg_config(cfg)
    cfg.merge_from_file(str(root / 'configs' / CONFIG))
    clip = write_clip(Path(request['scratch']) / 'clip_large.pt', width=1024, layers=24, patch=14, embed=768)
    cfg.MODEL.DEVICE, cfg.MODEL.CLIP_ADAPTER.CLIP_MODEL_NAME = 'cpu', str(clip)
    if trains(request):
        cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(seen(request['names']))
    else:
        cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = QUERIES
    describe(cfg.DATASETS.TRAIN[0], cfg.DATASETS.TEST[0], request)
    model = importlib.import_module('detectron2.modeling').build_model(cfg).train(trains(request))
    sharpen(model)
    torch.save(model.state_dict(), state_file(request))
    rows = text_rows(len(request['names']), 768)
    model.clip_adapter.text_feature_buffer = dict(zip(request['names'], rows, strict=True))
    sets = cfg.DATASETS.TRAIN if trains(request) else cfg.DATASETS.TEST
    given = {**input_of(request), 'meta': dict(dataset_name=sets[0])}
    if not trains(request):
        return lambda: model([given])[0]['sem_seg'].argmax(dim=0)
    without_chance(model)
    given['instances'] = their_truth(request)

    def step() -> Tensor:
        with torch.enable_grad():
            return gradients_as_values(model([given]), model)

    return step


def ours(request: dict[str, Any]) -> Run:
    """The suite's OVSeg with the peer's weights."""
    from mmengine.registry import DefaultScope
    from mmseg.structures import SegDataSample

    from denseclip.clip.vocabulary import Vocabulary
    from denseclip.engine.config import load_config
    from denseclip.models.builder import build_module
    from denseclip.weights import load_into
    from denseclip.weights.convert import convert
    from studies.peers.weights import clip_arch

    path = Path(__file__).parents[2] / 'configs' / 'ovseg' / 'ovseg_swin-b_vit-l14_120k_ade20k-640x640.py'
    config = load_config(str(path)).model
    arch = clip_arch(width=1024, layers=24, patch=14, embed=768)
    config.clip = dict(model='ViT-L-14', pretrained=None, arch=arch, quick_gelu=True)
    config.backbone.init_cfg = None
    names, training = request['names'], trains(request)
    if not training:
        config.decode_head.num_queries = QUERIES
    # A training takes the present words where it has none of its own.
    config.vocabulary, config.train_vocabulary = (seen(names), None) if training else (names, seen(names))
    with DefaultScope.overwrite_default_scope('mmseg'):
        model: Any = build_module(config).train(training)
    state = convert(torch.load(state_file(request), weights_only=True), 'ovseg')
    load_into(model, state, source=str(state_file(request)))
    rows = text_rows(len(names), 768)
    model.set_class_embeddings(rows[::2] if training else rows, Vocabulary.of(seen(names) if training else names))
    image = picture(request, normalised=False)[0] * 255
    sample = SegDataSample()
    sample.set_metainfo(dict(img_shape=tuple(request['size']), ori_shape=tuple(request['out'])))
    given = model.data_preprocessor({'inputs': [image.flip(0)], 'data_samples': [sample]}, training=False)
    if training:
        without_chance(model)
        sample.gt_instances = our_truth(request)

        def step() -> Tensor:
            with torch.enable_grad():
                return gradients_as_values(model.loss(given['inputs'], [sample]), model)

        return step

    def run() -> Tensor:
        return model.predict(given['inputs'], given['data_samples'])[0].pred_sem_seg.data[0]

    return in_precision(model, request, run)

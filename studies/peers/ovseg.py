"""OVSeg on detectron2 beside the suite's, as :mod:`studies.peers.masks` does it for models on a CLIP trunk."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studies.peers.masks import describe, input_of, seen, sharpen, start_detectron2, state_file, text_rows
from studies.peers.precision import in_precision
from studies.peers.theirs import Run, picture

CONFIG = 'ovseg_swinB_vitL_bs32_120k.yaml'
QUERIES = 8
"""Each of their masks is a picture to CLIP."""


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
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = QUERIES
    describe(cfg.DATASETS.TRAIN[0], cfg.DATASETS.TEST[0], request)
    model = importlib.import_module('detectron2.modeling').build_model(cfg).eval()
    sharpen(model)
    torch.save(model.state_dict(), state_file(request))
    rows = text_rows(len(request['names']), 768)
    model.clip_adapter.text_feature_buffer = dict(zip(request['names'], rows, strict=True))
    given = {**input_of(request), 'meta': dict(dataset_name=cfg.DATASETS.TEST[0])}
    return lambda: model([given])[0]['sem_seg'].argmax(dim=0)


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
    config.decode_head.num_queries = QUERIES
    config.vocabulary, config.train_vocabulary = request['names'], seen(request['names'])
    with DefaultScope.overwrite_default_scope('mmseg'):
        model: Any = build_module(config).eval()
    state = convert(torch.load(state_file(request), weights_only=True), 'ovseg')
    load_into(model, state, source=str(state_file(request)))
    model.set_class_embeddings(text_rows(len(request['names']), 768), Vocabulary.of(request['names']))
    image = picture(request, normalised=False)[0] * 255
    sample = SegDataSample()
    sample.set_metainfo(dict(img_shape=tuple(request['size']), ori_shape=tuple(request['out'])))
    given = model.data_preprocessor({'inputs': [image.flip(0)], 'data_samples': [sample]}, training=False)

    def run() -> Tensor:
        return model.predict(given['inputs'], given['data_samples'])[0].pred_sem_seg.data[0]

    return in_precision(model, request, run)

"""FC-CLIP and MAFT+ on detectron2, which is read from its checkout, beside the suite's.

The peer's model is built from the authors' own config file, with random weights; its state is written to the row's
folder, and the suite's converters read it. Text rows are random on both sides. detectron2's compiled operators are not
there: deformable attention takes the authors' own path for the CPU.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from studies.peers.precision import in_precision
from studies.peers.steps import draw_alike, ellipses, gradients_as_values, segment_labels, trains
from studies.peers.theirs import Run, host_stack, picture, stub

CLIP_NAME = 'convnext_base_w_320'
OVERLAP = 0.1
"""Least share of a segment: masks of random weights overlap so much that hardly any passes the usual 0.8."""


def text_rows(count: int, width: int) -> Tensor:
    """Unit vectors of words, (count, width)."""
    return F.normalize(torch.randn(count, width, generator=torch.Generator('cpu').manual_seed(1)), dim=-1)


def seen(names: Sequence[str]) -> list[str]:
    """The words of the training: every second one."""
    return list(names[::2])


def state_file(request: dict[str, Any]) -> Path:
    """Where the peer leaves its weights for the suite."""
    return Path(request['scratch']) / f'{request["family"]}.pt'


def segments_as_labels(ids: Tensor, segments: Sequence[dict[str, Any]]) -> Tensor:
    """Number and class of the segment at every place, as one label."""
    table = torch.zeros(int(ids.max()) + 1, dtype=torch.long)
    for segment in segments:
        table[segment['id']] = 1000 * segment['id'] + segment['category_id'] + 1
    return table[ids.long()]


def start_detectron2(package: str, root: str) -> Any:
    """detectron2's configuration, with the peer's package in place without its data sets and evaluators."""
    host_stack()
    stub('MultiScaleDeformableAttention')
    stub('wandb')
    stub(package, __path__=[str(Path(root) / package)])
    cfg = importlib.import_module('detectron2.config').get_cfg()
    importlib.import_module('detectron2.projects.deeplab').add_deeplab_config(cfg)
    return cfg


def describe(train: str, test: str, request: dict[str, Any]) -> None:
    """Words of both data sets for detectron2's catalogue."""
    catalog = importlib.import_module('detectron2.data').MetadataCatalog
    things = {number: number for number in range(len(request['names']) // 2)}
    words = {train: seen(request['names']), test: request['names']}
    for name, names in words.items():
        catalog.pop(name, None)
        catalog.get(name).set(stuff_classes=list(names), thing_dataset_id_to_contiguous_id=things)


def their_trunk_model(request: dict[str, Any], training: bool) -> Any:
    """FC-CLIP or MAFT+ from its config file, on the smaller CLIP."""
    is_maft, root = request['family'].startswith('maft'), request['checkout']
    package = 'maft' if is_maft else 'fcclip'
    cfg = start_detectron2(package, root)
    settings = importlib.import_module(f'{package}.config')
    for module in ('modeling', 'maft_plus' if is_maft else 'fcclip'):
        importlib.import_module(f'{package}.{module}')
    settings.add_maskformer2_config(cfg)
    settings.add_fcclip_config(cfg)
    path = (
        'semantic/train_semantic_base.yaml'
        if is_maft
        else 'coco/panoptic-segmentation/fcclip/fcclip_convnext_large_eval_ade20k.yaml'
    )
    cfg.merge_from_file(str(Path(root) / 'configs' / path))
    panoptic = request['family'].endswith('panoptic')
    cfg.MODEL.DEVICE = 'cpu'
    cfg.MODEL.FC_CLIP.CLIP_MODEL_NAME, cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = CLIP_NAME, ''
    cfg.MODEL.FC_CLIP.EMBED_DIM = 640
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(seen(request['names']))
    tests = cfg.MODEL.MASK_FORMER.TEST
    tests.SEMANTIC_ON, tests.PANOPTIC_ON, tests.INSTANCE_ON = not panoptic, panoptic, False
    tests.OVERLAP_THRESHOLD, tests.OBJECT_MASK_THRESHOLD = OVERLAP, 0.0
    describe(cfg.DATASETS.TRAIN[0], cfg.DATASETS.TEST[0], request)
    model = importlib.import_module('detectron2.modeling').build_model(cfg)
    sharpen(model)
    torch.save(model.state_dict(), state_file(request))
    rows = text_rows(len(request['names']), 640)
    for kind, words in (('train', rows[::2]), ('test', rows)):
        setattr(model, f'{kind}_text_classifier', words)
        setattr(model, f'{kind}_num_templates', [1] * len(words))
        setattr(model, f'{kind}_dataname', 'ours')
    return model.train(training)


def sharpen(model: torch.nn.Module) -> None:
    """Let random weights tell places and queries apart: large mask logits, and classes by the query, not the picture.

    What CLIP says of masks of noise is the same for all of them, so its scale is small and that of the head large.
    """
    for name, parameter in model.named_parameters():
        if name.endswith('logit_scale'):
            parameter.data.fill_(0.0 if 'clip_model' in name else math.log(100))
        elif 'mask_embed.layers.2.' in name:
            parameter.data.mul_(30)


def input_of(request: dict[str, Any]) -> dict[str, Any]:
    """The picture as detectron2's models take it: RGB, 0..255."""
    height, width = request['out']
    image = picture(request, normalised=False)[0] * 255
    return dict(image=image, height=height, width=width, file_name='a/b.jpg', meta=dict(dataname='ours'))


def their_truth(request: dict[str, Any]) -> Any:
    """Segments of a training step for detectron2's models."""
    truth = importlib.import_module('detectron2.structures').Instances(tuple(request['size']))
    truth.gt_masks, truth.gt_classes = ellipses(request['size']), segment_labels(len(seen(request['names'])))
    return truth


def our_truth(request: dict[str, Any]) -> Any:
    """The same segments for the suite's."""
    from mmengine.structures import InstanceData

    return InstanceData(labels=segment_labels(len(seen(request['names']))), masks=ellipses(request['size']))


def theirs(request: dict[str, Any]) -> Run:
    """A call gives labels, segments, or the losses of a training step."""
    training = trains(request)
    model = their_trunk_model(request, training)
    given = input_of(request)

    def run() -> Tensor:
        if training:
            with torch.enable_grad():
                return gradients_as_values(model([given]), model)
        answer = model([given])[0]
        if 'panoptic_seg' in answer:
            return segments_as_labels(*answer['panoptic_seg'])
        return answer['sem_seg'].argmax(dim=0)

    if training:
        given['instances'] = their_truth(request)
        draw_alike(model.criterion)
    return run


def ours(request: dict[str, Any]) -> Run:
    """The suite's FC-CLIP or MAFT+ with the peer's weights."""
    from mmseg.structures import SegDataSample

    from denseclip.clip.vocabulary import Vocabulary
    from denseclip.engine.config import load_config
    from denseclip.models.builder import build_module
    from denseclip.weights import load_into
    from denseclip.weights.convert import convert

    is_maft = request['family'].startswith('maft')
    task = 'panoptic' if request['family'].endswith('panoptic') else 'semantic'
    names = request['names']
    name = (
        'maft/maft-plus_convnext-b_60k_ade20k-1333x800' if is_maft else 'fcclip/fcclip_convnext-l_369k_ade20k-1333x800'
    )
    config = load_config(str(Path(__file__).parents[2] / 'configs' / f'{name}.py')).model
    config.clip = dict(model=CLIP_NAME, pretrained=None)
    training = trains(request)
    # A training takes the present words where it has none of its own: their rows are given below, like the peer's.
    config.vocabulary, config.train_vocabulary = (seen(names), None) if training else (names, seen(names))
    config.things = config.vocabulary[: len(config.vocabulary) // 2]
    config.drop_path = False if is_maft else None
    if not is_maft:
        del config.drop_path
    config.test_cfg = dict(task=task, score_threshold=0.0, overlap_threshold=OVERLAP, merge_first=task == 'semantic')
    model: Any = build_module(config)
    state = convert(
        torch.load(state_file(request), weights_only=True), 'maft', **(dict(teacher=True) if is_maft else {})
    )
    load_into(model, state, source=str(state_file(request)))
    rows = text_rows(len(names), 640)
    words = Vocabulary.of(seen(names) if training else names)
    model.set_class_embeddings(rows[::2] if training else rows, words)
    inputs = picture(request)
    sample = SegDataSample()
    sample.set_metainfo(dict(img_shape=tuple(request['size']), ori_shape=tuple(request['out'])))
    model.train(training)
    if training:
        sample.gt_instances = our_truth(request)
        draw_alike(model.head.criterion)

    def run() -> Tensor:
        if training:
            with torch.enable_grad():
                return gradients_as_values(model.loss(inputs, [sample]), model)
        answer = model.predict(inputs, [sample])[0]
        if task == 'panoptic':
            found = answer.pred_panoptic_seg
            return segments_as_labels(found.data[0], found.segments_info)
        return answer.pred_sem_seg.data[0]

    return run if training else in_precision(model, request, run)

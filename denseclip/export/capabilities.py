"""Which models can be exported, how, and why the others cannot. A new model is a row here.

Whatever a row promises is compared with PyTorch at sizes that are not the example's before a file is written
(:mod:`denseclip.export.checks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead

from denseclip.export.anomaly_graphs import AnoVLGraph, AprilGANGraph, WinCLIPGraph
from denseclip.export.box_graphs import ClosedMaskRCNNGraph, ClosedRetinaNetGraph, MaskRCNNGraph, RetinaNetGraph
from denseclip.export.errors import ExportError
from denseclip.export.guided_graphs import GuidedMaskGraph, GuidedProposalGraph
from denseclip.export.image_graphs import (
    ClosedGraph,
    ComparingDenseCLIPGraph,
    DenseCLIPGraph,
    ImageGraph,
    MaskCLIPPlusGraph,
    OpenVocabularyGraph,
)
from denseclip.export.mask_graphs import MaskGraph
from denseclip.export.reasons import PARTS, PRE_PROMPTING, REASONS, UNKNOWN, first_part
from denseclip.export.region_graphs import ProposalGraph
from denseclip.export.region_writing import RegionWriting
from denseclip.export.words import (
    BankWords,
    ContextWords,
    DetectorWords,
    NameWords,
    NoWords,
    RegionWords,
    StateWords,
    WordSide,
)
from denseclip.export.writing import AnomalyWriting, BoxWriting, MaskWriting, SegmentorWriting, Writing
from denseclip.models.segmentors.post_processing import PostProcessing
from denseclip.runtime.manifest import Scores


@dataclass(frozen=True)
class Way:
    """How a model is exported.

    Attributes:
        graph: Makes the graph of its picture side.
        words: Makes its text side.
        writing: Writes its parts and the manifest.
        scores: What the graph's scores mean.
    """

    graph: Callable[[Any], ImageGraph]
    words: Callable[[Any], WordSide]
    writing: type[Writing]
    scores: Scores = Scores()


@dataclass(frozen=True)
class Capability:
    """Whether a model can be exported.

    Attributes:
        exportable: Whether.
        reason: Why not; empty where it can.
        way: How.
    """

    exportable: bool
    reason: str = ''
    way: Way | None = None


def _no(reason: str) -> Capability:
    return Capability(False, reason)


_PAIRS = 'its words tell pairs of classes apart, which graphs do not; give it words without such sentences.'
_CHOOSES = 'it chooses the classes of each picture (active_vocabulary), which the runtime does not do.'


def _denseclip(model: Any) -> Capability:
    if model.prompting == 'pre':
        return _no(PRE_PROMPTING)
    if model.align_corners:
        return _no('its head resizes with align_corners=True, which the runtime does not do.')
    if model.binary:
        return _no('it tells two classes apart by a threshold on one score.')
    if model.vocabulary.background in ('threshold', 'gda'):
        return _no('its background is decided pixel by pixel, which the runtime does not do; use none or prompts.')
    graph = ComparingDenseCLIPGraph if model.compares_raw_texts else DenseCLIPGraph
    return Capability(True, way=Way(graph, ContextWords, SegmentorWriting))


def _open_vocabulary(model: Any) -> Capability:
    if getattr(model, 'active_vocabulary', None) is not None:
        return _no(_CHOOSES)
    read_out = model.tower.read_out
    reason = first_part(
        {
            'post': model.post != PostProcessing(normalize=model.post.normalize),
            'read_out': read_out.repair is not None or read_out.middle is not None,
            'affinity': _is(model.affinity, 'SpectralAffinity'),
            **{part: getattr(model, part) is not None for part in ('join', 'spread', 'sam', 'regions')},
        }
    )
    if reason:
        return _no(reason)
    if model.text.in_use is not None and model.text.in_use.background == 'clipn':
        return _no("its background is decided by CLIPN's second text tower; give it words with another background.")
    if model.text.in_use is not None and model.text.in_use.background == 'gda':
        return _no('its background is decided by a head of labelled pictures; give it words with another background.')
    if getattr(model, 'background_rule', False):
        return _no('its background rule needs a foreground map, which the runtime does not use; set it to False.')
    scores = Scores(model.output, float(model.scale), normalize=model.post.normalize)
    return Capability(True, way=Way(OpenVocabularyGraph, BankWords, SegmentorWriting, scores))


def _maskclip_plus(model: Any) -> Capability:
    if model.align_corners:
        return _no('its head resizes with align_corners=True, which the runtime does not do.')

    def words(own: Any) -> BankWords:
        return BankWords(own, compares=False, threshold=False)

    return Capability(True, way=Way(MaskCLIPPlusGraph, words, SegmentorWriting))


def _masks(model: Any) -> Capability:
    if model.text.in_use is not None and model.text.in_use.differences:
        return _no(_PAIRS)
    if model.active_vocabulary is not None:
        return _no(_CHOOSES)
    return Capability(True, way=Way(MaskGraph, NameWords, MaskWriting))


def _two_stages(model: Any) -> Capability:
    if model.text.in_use is not None and model.text.in_use.differences:
        return _no(_PAIRS)
    if model.proposer is not None:
        return _no('its masks come from another program (proposer=...), which the runtime does not run.')
    if model.test_cfg.mode == 'slide':
        return _no("it classifies the masks of each window (mode='slide'), which the runtime does not do.")
    if model.active_vocabulary is not None:
        return _no(_CHOOSES)
    return Capability(True, way=Way(ProposalGraph, RegionWords, RegionWriting))


def _guided(host: Callable[[Any], Capability], graph: type[ImageGraph], model: Any) -> Capability:
    """PMP on a host: the classes of a call are an input of the graph."""
    found, settings = host(model), model.prompt_settings
    if found.way is None:
        return found
    if settings.tokens != 'category':
        return _no("its queries look at all pieces of all words (tokens='word'), which graphs are not given.")
    if settings.inference != 'all':
        return _no(f"it runs once for some classes each (inference='{settings.inference}'); export it with 'all'.")
    if model._phrases is not None:
        return _no('its queries look at other words than its classes (set_prompts), which the runtime does not know.')
    return Capability(True, way=replace(found.way, graph=graph))


def _encoder_decoder(model: Any) -> Capability:
    head = model.decode_head
    if not isinstance(head, BaseDecodeHead) or any(
        getattr(type(head), name) is not getattr(BaseDecodeHead, name) for name in ('predict', 'predict_by_feat')
    ):
        return _no(f'its {type(head).__name__} makes labels in a way of its own.')
    if model.align_corners:
        return _no('its head resizes with align_corners=True, which the runtime does not do.')
    if model.out_channels == 1:
        return _no('it tells two classes apart by a threshold on one score.')
    return Capability(True, way=Way(ClosedGraph, NoWords, SegmentorWriting, Scores(full=True)))


def _retinanet(model: Any) -> Capability:
    head = model.bbox_head
    with_words = hasattr(model, 'prompting')
    if with_words and model.prompting == 'pre':
        return _no(PRE_PROMPTING)
    if not _is(head, 'RetinaHead'):
        return _no(f'its head is {type(head).__name__}; graphs are made of RetinaHead.')
    reason = _unknown_boxes([head], [head.test_cfg.nms])
    if reason:
        return _no(reason)
    return Capability(
        True,
        way=Way(RetinaNetGraph, DetectorWords, BoxWriting)
        if with_words
        else Way(ClosedRetinaNetGraph, NoWords, BoxWriting),
    )


def _mask_rcnn(model: Any) -> Capability:
    roi = model.roi_head
    with_words = hasattr(model, 'prompting')
    if with_words and model.prompting == 'pre':
        return _no(PRE_PROMPTING)
    if not _is(roi, 'StandardRoIHead') or roi.with_shared_head or not roi.bbox_head.with_reg:
        return _no(f'its {type(roi).__name__} is none of Mask R-CNN.')
    extractors = [roi.bbox_roi_extractor, *([roi.mask_roi_extractor] if model.with_mask else [])]
    if not all(_is(one, 'SingleRoIExtractor') and _is(one.roi_layers[0], 'RoIAlign') for one in extractors):
        return _no('it takes regions by other layers than SingleRoIExtractor and RoIAlign.')
    if model.with_mask and not _is(roi.mask_head, 'FCNMaskHead'):
        return _no(f'its masks come from {type(roi.mask_head).__name__}; graphs are made of FCNMaskHead.')
    reason = _unknown_boxes([model.rpn_head, roi.bbox_head], [model.test_cfg['rpn'].nms, roi.test_cfg.nms])
    if reason:
        return _no(reason)
    return Capability(
        True,
        way=Way(MaskRCNNGraph, DetectorWords, BoxWriting)
        if with_words
        else Way(ClosedMaskRCNNGraph, NoWords, BoxWriting),
    )


def _is(module: Any, name: str) -> bool:
    """Whether a part is MMDetection's own of this name; that package is not imported for models without boxes."""
    return type(module).__name__ == name


def _unknown_boxes(heads: Sequence[Any], rules: Sequence[Any]) -> str:
    """What graphs do not do with boxes; empty: nothing."""
    if any(rule.get('type', 'nms') != 'nms' or set(rule) - {'type', 'iou_threshold'} for rule in rules):
        return f'its boxes are suppressed by {[dict(rule) for rule in rules]}; graphs do it by nms with iou_threshold.'
    coders = [head.bbox_coder for head in heads]
    if not all(_is(one, 'DeltaXYWHBBoxCoder') and one.clip_border for one in coders):
        return 'its boxes are decoded by another coder than DeltaXYWHBBoxCoder with clip_border=True.'
    if any(getattr(head.loss_cls, 'custom_cls_channels', False) for head in heads):
        return 'its loss decides what scores are.'
    return ''


def _anovl(model: Any) -> Capability:
    if model.adaptation is not None:
        return _no(PARTS['adaptation'])
    return _by_sentences(model, AnoVLGraph)


def _by_sentences(model: Any, graph: Any) -> Capability:
    if model.pair is not None:
        return _no('its prompts are a learnt pair, and the runtime embeds written ones.')
    return Capability(True, way=Way(graph, StateWords, AnomalyWriting))


def _winclip(model: Any) -> Capability:
    if model.references is not None:
        return _no('it compares pictures with references of one object, which the runtime does not keep.')
    return _by_sentences(model, WinCLIPGraph)


def _april_gan(model: Any) -> Capability:
    return _by_sentences(model, AprilGANGraph)


WAYS: Mapping[str, Callable[[Any], Capability]] = MappingProxyType(
    {
        'DenseCLIP': _denseclip,
        'OpenVocabularySegmentor': _open_vocabulary,
        'CLIPDINOiser': _open_vocabulary,
        'DinoCLIP': _open_vocabulary,
        'SPAR': _open_vocabulary,
        'MaskCLIPPlus': _maskclip_plus,
        'FCCLIP': _masks,
        'MAFTPlus': _masks,
        'OVSeg': _two_stages,
        'PMPFCCLIP': partial(_guided, _masks, GuidedMaskGraph),
        'PMPMAFTPlus': partial(_guided, _masks, GuidedMaskGraph),
        'PMPOVSeg': partial(_guided, _two_stages, GuidedProposalGraph),
        'DenseCLIPRetinaNet': _retinanet,
        'DenseCLIPMaskRCNN': _mask_rcnn,
        'EncoderDecoder': _encoder_decoder,
        'RetinaNet': _retinanet,
        'MaskRCNN': _mask_rcnn,
        'FasterRCNN': _mask_rcnn,
        'AnoVL': _anovl,
        'WinCLIP': _winclip,
        'AprilGAN': _april_gan,
    }
)
"""By name of the class: what decides about a model of it. The others have a reason in ``reasons``."""


def refuse(kind: str, reason: str = '') -> None:
    """Refuse models of a class of which none can be exported.

    Args:
        kind: The ``type`` of a model in a config.
        reason: Why this one cannot, where its card says so.

    Raises:
        ExportError: With the reason.
    """
    name = kind.rpartition('.')[2]
    if reason or name not in WAYS:
        raise ExportError(f'{name} cannot be exported: {reason or REASONS.get(name, UNKNOWN)}')


def capability(model: Any) -> Capability:
    """Whether a model can be exported, and why not.

    Args:
        model: A model, or the class of one; of a class is said what holds for all of its models.
    """
    kind = model if isinstance(model, type) else type(model)
    if kind.__name__ not in WAYS:
        return _no(REASONS.get(kind.__name__, UNKNOWN))
    return Capability(True) if isinstance(model, type) else WAYS[kind.__name__](model)

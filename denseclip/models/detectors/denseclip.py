"""DenseCLIP's detectors on MMDetection: RetinaNet and Mask R-CNN with pixel-text scores (Rao et al., CVPR 2022)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.detectors import MaskRCNN, RetinaNet
from mmdet.models.detectors.base import BaseDetector
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from denseclip.clip.vocabulary import VocabularyLike
from denseclip.models.builder import build_module
from denseclip.models.prompting import PromptingOptions, Spec, TextPrompting


def build_detection_module(spec: Spec) -> Any:
    """Build a module of MMDetection or of the suite, whatever the default scope is: MMSeg also has an ``FPN``."""
    return spec if isinstance(spec, nn.Module) else build_module({'_scope_': 'mmdet', **spec})


class DenseCLIPDetector(TextPrompting, BaseDetector):
    """What both detectors share; it stands before an MMDetection detector among the bases of a class.

    Two things differ from segmentation, as in the authors' code: the backbone level receives the scores divided by
    ``tau``, and boxes instead of label maps supervise the score map. Modules are given as configs or as built modules.

    Args:
        backbone: image backbone whose output ends in ``(pooled (N, E), dense (N, E, h, w))``.
        text_encoder: text encoder called as ``encoder(tokens (K, L), contexts (B', N2, W)) -> (B', K, E)``.
        vocabulary: the K classes, anything that ``Vocabulary.of`` accepts; other names of the same number can follow
            by :meth:`set_vocabulary`.
        heads: the detection heads by attribute name; a config gets its part of ``train_cfg`` and ``test_cfg``.
        neck: MMDetection neck; the level with the score map has K more input channels.
        context_decoder: ``ContextDecoder`` of the prompting.
        pixel_text_loss: ``BoxPixelTextLoss``; None leaves the auxiliary loss out.
        prompting: ``'post'``, ``'pre'`` or ``'none'``, as in the segmentor ``DenseCLIP``; so are the next three.
        num_contexts: number N2 of learnable context tokens.
        context_length: most tokens per prompt, start and end included (N1); None is the text encoder's limit.
        tau: temperature of the scores.
        score_concat_index: backbone level that receives the scores; it must have the dense map's size (stride 32 of a
            ResNet, stride 16 of a ViT).
        score_fusion: ``'concat'`` (the paper), ``'expectation'`` or ``'none'``.
        templates: prompt templates; None uses the names as they are, as the authors.
        synonym_sampling: in training use one random name per class and step.
        train_cfg: MMDetection training config.
        test_cfg: MMDetection test config.
        data_preprocessor: MMDetection data preprocessor; its mean and std are compared with what the weights need.
        init_cfg: MMEngine initialisation config.

    Attributes:
        pixel_text_loss_name: Name of the auxiliary loss among the losses.
    """

    scores_over_tau = True
    pixel_text_loss_name = 'loss_seg'

    def __init__(
        self,
        backbone: Spec,
        text_encoder: Spec,
        vocabulary: VocabularyLike,
        heads: Mapping[str, Spec],
        neck: Spec | None = None,
        context_decoder: Spec | None = None,
        pixel_text_loss: Spec | None = None,
        prompting: str = 'post',
        num_contexts: int = 8,
        context_length: int | None = 5,
        tau: float = 0.07,
        score_concat_index: int = 3,
        score_fusion: str = 'concat',
        templates: str | Sequence[str] | None = None,
        synonym_sampling: bool = False,
        train_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        data_preprocessor: Spec | None = None,
        init_cfg: Any = None,
    ) -> None:
        options = PromptingOptions(
            prompting=prompting,
            num_contexts=num_contexts,
            context_length=context_length,
            tau=tau,
            score_concat_index=score_concat_index,
            score_fusion=score_fusion,
            templates=templates,
            synonym_sampling=synonym_sampling,
        )
        preprocessor = build_detection_module(data_preprocessor or dict(type='DetDataPreprocessor'))
        BaseDetector.__init__(self, data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.backbone = build_detection_module(backbone)
        if neck is not None:
            self.neck = build_detection_module(neck)
        self.train_cfg = ConfigDict(train_cfg) if train_cfg is not None else None
        self.test_cfg = ConfigDict(test_cfg) if test_cfg is not None else None
        for name, head in heads.items():
            setattr(self, name, self._build_head(name, head))
        self.pixel_text_loss = None if pixel_text_loss is None else build_module(pixel_text_loss)
        self._init_text(text_encoder, context_decoder, vocabulary, options)

    def _build_head(self, name: str, spec: Spec) -> Any:
        """Build a head with its part of ``train_cfg`` and ``test_cfg``; a ready head has its own."""
        if isinstance(spec, nn.Module):
            return spec
        return build_detection_module({**spec, 'train_cfg': self.train_cfg, 'test_cfg': self.test_cfg})

    def _class_heads(self) -> list[Any]:
        """Heads whose number of classes is that of the vocabulary."""
        raise NotImplementedError

    def words_changed(self) -> None:
        """Refuse heads of another number of classes."""
        count = self.class_text.num_classes
        for head in self._class_heads():
            if head.num_classes != count:
                raise ValueError(
                    f'{type(head).__name__}.num_classes is {head.num_classes}, but the vocabulary has {count} classes.'
                )

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Inputs of the heads for a batch of images (N, 3, H, W)."""
        return tuple(self.pyramid(self.match(batch_inputs).levels))

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Any]:
        """Losses of a batch.

        Args:
            batch_inputs: preprocessed images, (N, 3, H, W).
            batch_data_samples: their ground truth; pictures without any object are fine, and boxes without width or
                height are left out with a warning: their size has no logarithm.

        Returns:
            The heads' losses under MMDetection's names, and the auxiliary pixel-text loss.
        """
        batch_data_samples = _with_real_boxes(batch_data_samples)
        match = self.match(batch_inputs)
        losses = self._head_losses(tuple(self.pyramid(match.levels)), batch_data_samples)
        if self.pixel_text_loss is not None:
            truth = [sample.gt_instances for sample in batch_data_samples]
            losses[self.pixel_text_loss_name] = self.pixel_text_loss(
                match.score_map / self.tau,
                [get_box_tensor(instances.bboxes) for instances in truth],
                [instances.labels for instances in truth],
                batch_inputs.shape[-2:],
            )
        return losses

    def _head_losses(self, pyramid: tuple[Tensor, ...], samples: list[DetDataSample]) -> dict[str, Any]:
        """Losses of the detection heads, MMDetection's own."""
        raise NotImplementedError


@MODELS.register_module()
class DenseCLIPRetinaNet(DenseCLIPDetector, RetinaNet):
    """RetinaNet guided by pixel-text score maps; the auxiliary loss is called ``loss_seg``.

    Args:
        bbox_head: MMDetection's ``RetinaHead``, or another dense head; its ``num_classes`` is that of the vocabulary.
        kwargs: see :class:`DenseCLIPDetector`.
    """

    def __init__(self, bbox_head: Spec, **kwargs: Any) -> None:
        super().__init__(heads=dict(bbox_head=bbox_head), **kwargs)

    def _class_heads(self) -> list[Any]:
        return [self.bbox_head]

    def _head_losses(self, pyramid: tuple[Tensor, ...], samples: list[DetDataSample]) -> dict[str, Any]:
        return dict(self.bbox_head.loss(pyramid, samples))


@MODELS.register_module()
class DenseCLIPMaskRCNN(DenseCLIPDetector, MaskRCNN):
    """Mask R-CNN guided by pixel-text score maps; the auxiliary loss is called ``loss_aux_seg``.

    Without ``mask_head`` in ``roi_head`` it is a Faster R-CNN.

    Args:
        rpn_head: MMDetection's region proposal network.
        roi_head: MMDetection's RoI head; ``num_classes`` of its parts is that of the vocabulary.
        kwargs: see :class:`DenseCLIPDetector`.
    """

    pixel_text_loss_name = 'loss_aux_seg'

    def __init__(self, rpn_head: Spec, roi_head: Spec, **kwargs: Any) -> None:
        super().__init__(heads=dict(rpn_head=rpn_head, roi_head=roi_head), **kwargs)

    def _build_head(self, name: str, spec: Spec) -> Any:
        if isinstance(spec, nn.Module):
            return spec
        part = {'rpn_head': 'rpn', 'roi_head': 'rcnn'}[name]
        configs = {
            'train_cfg': self.train_cfg and self.train_cfg[part],
            'test_cfg': self.test_cfg and self.test_cfg[part],
        }
        fixed = {'num_classes': 1} if name == 'rpn_head' else {}
        return build_detection_module({**spec, **fixed, **configs})

    def _class_heads(self) -> list[Any]:
        return [self.roi_head.bbox_head, *([self.roi_head.mask_head] if self.with_mask else [])]

    def _head_losses(self, pyramid: tuple[Tensor, ...], samples: list[DetDataSample]) -> dict[str, Any]:
        proposal_cfg = (self.train_cfg or {}).get('rpn_proposal') or (self.test_cfg or {})['rpn']
        losses, proposals = self.rpn_head.loss_and_predict(
            pyramid, [_without_classes(sample) for sample in samples], proposal_cfg=proposal_cfg
        )
        losses = {key if 'rpn' in key else f'rpn_{key}': value for key, value in losses.items()}
        return {**losses, **self.roi_head.loss(pyramid, proposals, samples)}


def _with_real_boxes(samples: list[DetDataSample]) -> list[DetDataSample]:
    """The samples, those with boxes of zero size replaced by copies without these boxes."""
    boxes = [get_box_tensor(sample.gt_instances.bboxes) for sample in samples]
    keep = (torch.cat([b[:, 2:] - b[:, :2] for b in boxes]) > 0).all(dim=1)
    if bool(keep.all()):
        return samples
    warnings.warn(
        f'{int((~keep).sum())} ground-truth boxes have no width or no height; they are ignored.', stacklevel=3
    )
    kept = []
    for sample, chosen in zip(samples, keep.split([len(b) for b in boxes]), strict=True):
        sample = sample.new()
        sample.gt_instances = sample.gt_instances[chosen]
        kept.append(sample)
    return kept


def _without_classes(sample: DetDataSample) -> DetDataSample:
    """Boxes of one class, as a region proposal network sees them; nothing is copied, least of all the masks."""
    boxes = sample.gt_instances.bboxes
    labels = torch.zeros_like(sample.gt_instances.labels)
    plain = DetDataSample(metainfo=sample.metainfo, gt_instances=InstanceData(bboxes=boxes, labels=labels))
    if 'ignored_instances' in sample:
        plain.ignored_instances = sample.ignored_instances
    return plain

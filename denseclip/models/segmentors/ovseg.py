"""OVSeg: masks of a trained MaskFormer, classified by it and by a mask-adapted CLIP (Liang et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.vocabulary import VocabularyLike
from denseclip.core.placement import pad_to_multiple, size_of, whole_multiples
from denseclip.models.builder import build_module
from denseclip.models.heads.mask_head import MaskHead, MaskPredictions, PixelFeatures
from denseclip.models.heads.query_guide import MayBeGuided, QueryGuide
from denseclip.structures.mask_proposals import MaskProposals

from .mask_targets import mask_targets
from .two_stage import TwoStageSegmentor


@MODELS.register_module()
class OVSeg(MayBeGuided, TwoStageSegmentor):
    """Open-vocabulary segmentation in two stages; the first one is trained here, CLIP is frozen.

    First stage: a MaskFormer whose queries give a mask and a class embedding, compared with CLIP's text rows and with
    a learnt row of "no object". Second stage: see :class:`TwoStageSegmentor`. Training needs the text tower alone.

    Pictures are padded with zeros (after normalisation) at the right and bottom to multiples of 32. The padding is no
    part of any result, but the first stage sees it, as in the authors' code.

    Source: OVSeg (Liang et al., CVPR 2023), sections 3.1 and 4.1.

    Args:
        backbone: Config of the backbone or the module; it gives four maps, finest first.
        decode_head: Config of the mask generator, a :class:`MaskHead`, or the module; ``embed_dim`` follows from CLIP.
        clip: See :class:`TwoStageSegmentor`.
        vocabulary: Classes to tell apart; None waits for :meth:`set_vocabulary`.
        train_vocabulary: Classes of the training data, in the order of its labels; None: the present vocabulary.
        train_cfg: Not used; many configs have an empty one.
        kwargs: Further arguments of :class:`TwoStageSegmentor`.

    Attributes:
        non_object_embedding: Embedding of "no object", not normalised, (1, D).
        text: Embeddings of the vocabulary in use: that of the training inside of :meth:`loss`.
    """

    size_divisor = 32
    weights_named_by = ()  # the first stage is trained

    def __init__(
        self,
        backbone: Mapping[str, Any] | nn.Module,
        decode_head: Mapping[str, Any] | nn.Module,
        clip: Any,
        vocabulary: VocabularyLike | None = None,
        train_vocabulary: VocabularyLike | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        del train_cfg
        super().__init__(clip, vocabulary=vocabulary, train_vocabulary=train_vocabulary, **kwargs)
        self.backbone: Any = build_module(backbone)
        width = self.text.tower.embed_dim
        if isinstance(decode_head, Mapping):
            decode_head = {'type': 'OpenVocabMaskFormerHead', 'embed_dim': width, **decode_head}
        self.decode_head: MaskHead = build_module(decode_head)
        self.non_object_embedding = nn.Parameter(torch.randn(1, width) * self.text.tower.width**-0.5)

    def no_object_row(self) -> Tensor:
        """The learnt row of "no object" at unit length, (1, D)."""
        return F.normalize(self.non_object_embedding, dim=-1)

    # --- from pictures to masks ---------------------------------------------------------------------------------

    def pad(self, images: Tensor) -> Tensor:
        """Pad normalised pictures with zeros at the right and bottom to multiples of 32."""
        return pad_to_multiple(images, self.size_divisor)

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:  # type: ignore[override]
        """Maps of the backbone for pictures (N, 3, H, W), padded here, finest first."""
        return self.backbone(self.pad(inputs))

    def generate(
        self,
        features: Sequence[Tensor] | PixelFeatures,
        guide: QueryGuide | None = None,
        *,
        all_layers: bool | None = None,
    ) -> MaskPredictions:
        """Run the mask generator.

        Args:
            features: Of the backbone, or what the pixel decoder has made of them already.
            guide: Steers the queries.
            all_layers: Predictions of all layers; by default in training only.
        """
        pixels = features if isinstance(features, PixelFeatures) else self.decode_head.pixel_features(features)
        return self.decode_head.decode(pixels, *self.text_rows(), guide, all_layers=all_layers)

    def propose_from(self, features: Sequence[Tensor], samples: Sequence[Any] | None = None) -> MaskProposals:
        """Masks of pictures with their class embeddings.

        Args:
            features: Of the backbone.
            samples: Data samples of the pictures.
        """
        guide = self.query_guide(features[0].shape[0], samples)
        return self.generate(features, guide, all_layers=False).proposals

    def propose(self, inputs: Tensor, samples: Sequence[Any] | None = None) -> MaskProposals:
        """Masks of pictures (N, 3, H, W), over their padded size; see :meth:`propose_from`."""
        return self.propose_from(self.extract_feat(inputs), samples)

    # --- training -----------------------------------------------------------------------------------------------

    def loss(self, inputs: Tensor, data_samples: list[Any]) -> dict[str, Tensor]:
        """Losses of the first stage; CLIP is frozen and its image tower is not run.

        Args:
            inputs: Preprocessed pictures (N, 3, H, W).
            data_samples: With ``gt_sem_seg`` or ``gt_instances``, see :func:`mask_targets`.
        """
        with self.text.training_words():
            features = self.extract_feat(inputs)
            predictions = self.generate(features, self.query_guide(inputs.shape[0], data_samples), all_layers=True)
            size = whole_multiples(size_of(inputs), self.size_divisor)
            targets = mask_targets(data_samples, len(self.text.names), size, inputs.device)
            return self.decode_head.loss(predictions, targets)

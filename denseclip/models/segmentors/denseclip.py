"""DenseCLIP: language-guided dense prediction with context-aware prompting (Rao et al., CVPR 2022)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.utils import add_prefix
from torch import Tensor, nn

from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.builder import build_module
from denseclip.models.functional.matching import expected_text_map, pixel_text_score_map, visual_context
from denseclip.models.text_encoders.base import TextContextEncoder

from .class_text import ClassText
from .label_inference import LabelMapInference

PROMPTING = ('post', 'pre', 'none')
SCORE_FUSION = ('concat', 'expectation', 'none')
TEXT_HEAD = (False, True, 'prompted', 'raw')


@dataclass
class PixelTextMatch:
    """What the backbone and the text branch say about a batch.

    Attributes:
        levels: Backbone stages, the score map already fused into one of them.
        score_map: Cosine of pixels and class texts, (N, K, h, w).
        text: Class embeddings after prompting, (N or 1, K, E).
        raw_text: Class embeddings from the text encoder, (N or 1, K, E).
    """

    levels: list[Tensor]
    score_map: Tensor
    text: Tensor
    raw_text: Tensor


@MODELS.register_module()
class DenseCLIP(LabelMapInference, EncoderDecoder):
    """Semantic segmentation guided by pixel-text score maps.

    Modules are given as configs or as built modules.

    Args:
        backbone: image backbone whose output ends in ``(pooled (N, E), dense (N, E, h, w))``.
        text_encoder: text encoder called as ``encoder(tokens (K, L), contexts (B', N2, W)) -> (B', K, E)``.
        vocabulary: anything that ``Vocabulary.of`` accepts; :meth:`set_vocabulary` changes it later.
        decode_head: MMSeg decode head over the neck's outputs.
        neck: MMSeg neck; the level with the score map has K (or E) more input channels.
        context_decoder: ``ContextDecoder`` of the prompting.
        identity_head: head of the auxiliary pixel-text loss; None leaves it out.
        auxiliary_head: MMSeg auxiliary heads over the neck's outputs.
        prompting: ``'post'``: text' = text + gamma * decoder(text, image) (eq. 5 of the paper). ``'pre'``: decoder
            (learnable queries, image) gives the contexts of the text encoder, per image (eq. 4). ``'none'``: text does
            not depend on the image.
        num_contexts: number N2 of learnable context tokens; 0 leaves them out.
        context_length: most tokens per prompt, start and end included (N1); None is the text encoder's limit.
        tau: temperature of the auxiliary loss and of ``score_fusion='expectation'``.
        score_concat_index: backbone level that receives the scores; it must have the dense map's size.
        score_fusion: ``'concat'``: the K raw cosines (the paper; ties the model to one K). ``'expectation'``: E
            channels that hold each pixel's expected class embedding, for any vocabulary. ``'none'``: nothing.
        text_head: put class embeddings before the inputs of ``decode_head``: True or ``'prompted'`` those after
            prompting, ``'raw'`` those of the text encoder.
        templates: prompt templates (see ``denseclip.clip.templates``); None uses the names as they are, as the authors.
        synonym_sampling: in training use one random name per class and step.
        data_preprocessor: MMSeg data preprocessor; its mean and std are compared with what the backbone's weights need.
        train_cfg: MMSeg training config.
        test_cfg: see :class:`LabelMapInference`.
        init_cfg: MMEngine initialisation config.
    """

    backbone: Any
    neck: Any
    decode_head: Any
    context_decoder: Any
    identity_head: Any
    text_encoder: TextContextEncoder
    class_text: ClassText
    contexts: nn.Parameter | None

    def __init__(
        self,
        backbone: Mapping[str, Any] | nn.Module,
        text_encoder: Mapping[str, Any] | nn.Module,
        vocabulary: Any,
        decode_head: Mapping[str, Any] | nn.Module,
        neck: Mapping[str, Any] | nn.Module | None = None,
        context_decoder: Mapping[str, Any] | nn.Module | None = None,
        identity_head: Mapping[str, Any] | nn.Module | None = None,
        auxiliary_head: Any = None,
        prompting: str = 'post',
        num_contexts: int = 8,
        context_length: int | None = 5,
        tau: float = 0.07,
        score_concat_index: int = 3,
        score_fusion: str = 'concat',
        text_head: bool | str = False,
        templates: str | Sequence[str] | None = None,
        synonym_sampling: bool = False,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Any = None,
    ) -> None:
        _check_choice('prompting', prompting, PROMPTING)
        _check_choice('score_fusion', score_fusion, SCORE_FUSION)
        _check_choice('text_head', text_head, TEXT_HEAD)
        # EncoderDecoder's own constructor takes configs only; its base takes what is common to both ways of building.
        super(EncoderDecoder, self).__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = build_module(backbone)
        if neck is not None:
            self.neck = build_module(neck)
        self._init_decode_head(build_module(decode_head))
        self._init_auxiliary_head(auxiliary_head)
        self.train_cfg = ConfigDict(train_cfg or {})
        self.test_cfg = ConfigDict({'mode': 'whole', **(test_cfg or {})})
        self.keep_logits = bool(self.test_cfg.get('keep_logits', False))
        self.prompting, self.tau, self.text_head = prompting, tau, text_head
        self.score_concat_index, self.score_fusion = score_concat_index, score_fusion
        self.text_encoder = build_module(text_encoder)
        self.class_text = ClassText(templates, context_length, synonym_sampling)
        self._init_prompting(context_decoder, num_contexts)
        self.identity_head = None if identity_head is None else build_module(identity_head)
        self.class_text.set_vocabulary(vocabulary, self.text_encoder, num_contexts)
        self._follow_vocabulary()
        self._check_sizes()
        self._check_normalization()

    # --- construction -------------------------------------------------------------------------------------------

    def _init_decode_head(self, decode_head: Any) -> None:
        self.decode_head = decode_head
        self.align_corners = decode_head.align_corners
        self.num_classes, self.out_channels = decode_head.num_classes, decode_head.out_channels

    def _init_prompting(self, context_decoder: Mapping[str, Any] | nn.Module | None, num_contexts: int) -> None:
        """Make contexts, gamma and the context decoder, and check that their sizes fit the text encoder."""
        self.contexts = None
        if num_contexts:
            self.contexts = nn.Parameter(torch.empty(1, num_contexts, self.text_encoder.width))
            nn.init.trunc_normal_(self.contexts)  # mean 0, std 1, cut at +-2
        self.context_decoder = None if context_decoder is None else build_module(context_decoder)
        if (self.prompting == 'none') != (self.context_decoder is None):
            wants = 'no' if self.prompting == 'none' else 'a'
            raise ValueError(f'prompting="{self.prompting}" needs {wants} context_decoder, got {context_decoder!r}.')
        if self.prompting == 'post':
            self.gamma = nn.Parameter(torch.full((self.text_encoder.embed_dim,), 1e-4))
        if self.prompting == 'pre':
            width, decoder = self.text_encoder.width, self.context_decoder
            if not num_contexts:
                raise ValueError('pre-model prompting needs num_contexts >= 1: the contexts are its queries.')
            if (decoder.query_dim, decoder.out_dim) != (width, width):
                raise ValueError(
                    f'pre-model prompting makes text contexts of width {width}, but the context decoder takes queries '
                    f'of {decoder.query_dim} and gives {decoder.out_dim}: set its query_dim and out_dim to {width}.'
                )

    def _check_sizes(self) -> None:
        """Refuse level widths that cannot work, with the number that would."""
        channels = getattr(self.backbone, 'out_channels', None)
        wanted = getattr(getattr(self, 'neck', None), 'in_channels', None)
        extra = {'concat': self.num_classes, 'expectation': self.text_encoder.embed_dim, 'none': 0}[self.score_fusion]
        if channels is None or wanted is None or not isinstance(wanted, Sequence):
            return
        expected = list(channels)
        expected[self.score_concat_index] += extra
        if list(wanted) != expected:
            raise ValueError(
                f'neck.in_channels is {list(wanted)}, but backbone and score_fusion="{self.score_fusion}" give '
                f'{expected} (level {self.score_concat_index} has {extra} score channels).'
            )

    def _check_normalization(self) -> None:
        """Warn when the data preprocessor contradicts the normalisation that the weights were trained with."""
        spec = getattr(self.backbone, 'preprocess', None)
        if spec is None or not getattr(self.data_preprocessor, '_enable_normalize', False):
            return
        mean, std = self.data_preprocessor.mean.flatten(), self.data_preprocessor.std.flatten()
        if mean.is_meta or type(mean) is not Tensor:  # built without data, under the meta device or fake tensors
            return
        conflict = spec.conflict(mean.tolist(), std.tolist())
        if conflict is not None:
            warnings.warn(f'{type(self.backbone).__name__}: {conflict}', stacklevel=3)

    # --- vocabulary ---------------------------------------------------------------------------------------------

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes that the model tells apart."""
        assert self.class_text.vocabulary is not None
        return self.class_text.vocabulary

    @property
    def closed_set(self) -> bool:
        """Whether the number of classes is built into the model's weights."""
        return self.score_fusion == 'concat' or not getattr(self.decode_head, 'open_vocabulary', False)

    def set_vocabulary(self, vocabulary: Any) -> None:
        """Let the model tell other classes apart.

        Args:
            vocabulary: anything that ``Vocabulary.of`` accepts.

        Raises:
            ValueError: if the model is closed-set and the number of classes differs.
        """
        vocabulary = Vocabulary.of(vocabulary)
        count = len(vocabulary.groups)
        if self.closed_set and count != self.num_classes:
            raise ValueError(
                f'this model is built for {self.num_classes} classes (score_fusion="{self.score_fusion}", '
                f'{type(self.decode_head).__name__}), the vocabulary has {count}. Give {self.num_classes} classes, or '
                'use a model with score_fusion="expectation", text_head=True and PixelTextFPNHead.'
            )
        num_contexts = 0 if self.contexts is None else self.contexts.shape[1]
        self.class_text.set_vocabulary(vocabulary, self.text_encoder, num_contexts)
        self._follow_vocabulary()

    def _follow_vocabulary(self) -> None:
        """Make class counts and the names shown with results those of the vocabulary."""
        count = self.class_text.num_classes
        if getattr(self.decode_head, 'open_vocabulary', False):
            self.decode_head.num_classes = self.decode_head.out_channels = count
        elif count != self.decode_head.num_classes:
            raise ValueError(
                f'decode_head.num_classes is {self.decode_head.num_classes}, but the vocabulary has {count} classes.'
            )
        self.num_classes, self.out_channels = self.decode_head.num_classes, self.decode_head.out_channels
        names = self.vocabulary.names + (('background',) if count > len(self.vocabulary) else ())
        meta = getattr(self, 'dataset_meta', None) or {}
        palette = meta.get('palette')
        keep = palette is not None and len(palette) == count
        self.dataset_meta = {'classes': names, **({'palette': palette} if keep else {})}

    # --- forward ------------------------------------------------------------------------------------------------

    def prompt_text(self, pooled: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Class embeddings for a batch of images.

        Args:
            pooled: pooled image embedding, (N, E).
            dense: dense image embedding, (N, E, h, w).

        Returns:
            Embeddings after prompting, (N or 1, K, E), and those of the text encoder, (N or 1, K, E).
        """
        if self.prompting == 'none':
            raw = self.class_text(self.text_encoder, self.contexts)
            return raw, raw
        context = visual_context(pooled, dense)
        if self.prompting == 'pre':
            assert self.contexts is not None
            contexts = self.context_decoder(self.contexts.expand(pooled.shape[0], -1, -1), context)
            raw = self.class_text(self.text_encoder, contexts, shared=False)
            return raw, raw
        raw = self.class_text(self.text_encoder, self.contexts)
        text = raw.expand(pooled.shape[0], -1, -1)
        return text + self.gamma * self.context_decoder(text, context), raw

    def match(self, inputs: Tensor) -> PixelTextMatch:
        """Run backbone and text branch, match pixels with texts, and fuse the scores into one level."""
        *levels, (pooled, dense) = self.backbone(inputs)
        text, raw = self.prompt_text(pooled, dense)
        scores = pixel_text_score_map(dense, text)
        if self.score_fusion != 'none':
            level = levels[self.score_concat_index]
            fused = scores if self.score_fusion == 'concat' else expected_text_map(scores, text, self.tau)
            levels[self.score_concat_index] = torch.cat([level, fused], dim=1)
        return PixelTextMatch(levels, scores, text, raw)

    def _head_inputs(self, match: PixelTextMatch) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs of the decode head (with text where it takes text), and the pyramid alone."""
        pyramid = list(self.neck(match.levels)) if self.with_neck else match.levels
        if not self.text_head:
            return pyramid, pyramid
        return [match.raw_text if self.text_head == 'raw' else match.text, *pyramid], pyramid

    def extract_feat(self, inputs: Tensor) -> list[Tensor]:
        """Inputs of the decode head for a batch of images."""
        return self._head_inputs(self.match(inputs))[0]

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses ``decode.*``, ``aux_identity.*`` (pixel-text) and ``aux*`` of a batch."""
        match = self.match(inputs)
        head_inputs, pyramid = self._head_inputs(match)
        losses = dict(self._decode_head_forward_train(head_inputs, data_samples))
        if self.identity_head is not None:
            identity = self.identity_head.loss(match.score_map / self.tau, data_samples, self.train_cfg)
            losses.update(add_prefix(identity, 'aux_identity'))
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(pyramid, data_samples))
        return losses


def _check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        raise ValueError(f'{name} must be one of {", ".join(map(repr, choices))}, got {value!r}.')

"""DenseCLIP: language-guided dense prediction with context-aware prompting (Rao et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.utils import add_prefix
from torch import Tensor
from torch.nn.functional import normalize

from denseclip.clip.unrelated import unrelated_rows, unrelated_words
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.placement import resize, size_of
from denseclip.core.unrelated_text import MAX_TEMPLATES
from denseclip.models.builder import build_module
from denseclip.models.pixel_head import PixelTexts
from denseclip.models.prompting import PixelTextMatch, PromptingOptions, Spec, TextPrompting, check_choice
from denseclip.models.text_encoders.class_text import ClassText

from .label_inference import LabelMapInference
from .word_scoring import Comparison

TEXT_HEAD = (False, True, 'prompted', 'raw')


@MODELS.register_module()
class DenseCLIP(TextPrompting, LabelMapInference, EncoderDecoder):
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

    decode_head: Any
    identity_head: Any

    def __init__(
        self,
        backbone: Spec,
        text_encoder: Spec,
        vocabulary: VocabularyLike,
        decode_head: Spec,
        neck: Spec | None = None,
        context_decoder: Spec | None = None,
        identity_head: Spec | None = None,
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
        data_preprocessor: Spec | None = None,
        train_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        init_cfg: Any = None,
    ) -> None:
        check_choice('text_head', text_head, TEXT_HEAD)
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
        self.text_head = text_head
        self.unrelated_text: ClassText | None = None
        self.identity_head = None if identity_head is None else build_module(identity_head)
        self._init_text(text_encoder, context_decoder, vocabulary, options)

    # --- construction -------------------------------------------------------------------------------------------

    def _init_decode_head(self, decode_head: Any) -> None:
        self.decode_head = decode_head
        self.align_corners = decode_head.align_corners
        self.num_classes, self.out_channels = decode_head.num_classes, decode_head.out_channels

    # --- vocabulary ---------------------------------------------------------------------------------------------

    @property
    def closed_set(self) -> bool:
        """Whether the number of classes is built into the model's weights."""
        return self.score_fusion == 'concat' or not getattr(self.decode_head, 'open_vocabulary', False)

    def _closed_set_message(self, built_for: int, count: int) -> str:
        return (
            f'this model is built for {built_for} classes (score_fusion="{self.score_fusion}", '
            f'{type(self.decode_head).__name__}), the vocabulary has {count}. Give {built_for} classes, or '
            'use a model with score_fusion="expectation", text_head=True and PixelTextFPNHead.'
        )

    @property
    def backgrounds(self) -> tuple[str, ...]:  # type: ignore[override]
        """Policies for pixels of no class that the model knows."""
        if self.binary:
            return super().backgrounds
        return (*super().backgrounds, 'threshold', *(('gda',) if self.has_pixel_features else ()))

    def words_changed(self) -> None:
        """Make class counts those of the vocabulary."""
        count = self.class_text.num_classes
        if getattr(self.decode_head, 'open_vocabulary', False):
            self.decode_head.num_classes = self.decode_head.out_channels = count
        elif count != self.decode_head.num_classes:
            raise ValueError(
                f'decode_head.num_classes is {self.decode_head.num_classes}, but the vocabulary has {count} classes.'
            )
        self.num_classes, self.out_channels = self.decode_head.num_classes, self.decode_head.out_channels

    # --- forward ------------------------------------------------------------------------------------------------

    def _head_inputs(self, match: PixelTextMatch) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs of the decode head (with text where it takes text), and the pyramid alone."""
        pyramid = self.pyramid(match.levels)
        if not self.text_head:
            return pyramid, pyramid
        return [match.raw_text if self.text_head == 'raw' else match.text, *pyramid], pyramid

    def extract_feat(self, inputs: Tensor) -> list[Tensor]:
        """Inputs of the decode head for a batch of images."""
        return self._head_inputs(self.match(inputs))[0]

    def head_scores(self, inputs: Tensor) -> tuple[Tensor, Comparison | None]:
        """See :class:`LabelMapInference`; unrelated words can be scored where the head compares with raw texts."""
        text = self._unrelated_text() if self.score_request is not None else None
        if text is None and self.pixel_head is None and self._trail is None:
            return super().head_scores(inputs)
        raw, *levels = self.extract_feat(inputs)
        pixels = self.decode_head.unit_pixels(levels)
        logits = self.decode_head.compare(pixels, raw)
        if self.pixel_head is not None or self._trail is not None:
            texts = PixelTexts(raw, float(self.decode_head.scale))
            logits = self.by_head(logits, self.decode_head.embed(pixels), texts)
        return logits, None if text is None else Comparison(partial(self.decode_head.compare, text=text), pixels)

    @property
    def has_pixel_features(self) -> bool:  # type: ignore[override]
        """Whether pixels have embeddings in the space of the texts."""
        return bool(self.text_head) and hasattr(self.decode_head, 'embed')

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit-length embeddings of different texts as they stand, (S, E); not with pre-model prompting."""
        text = ClassText(None, None).to(self.class_text.tokens.device).eval()
        num_contexts = 0 if self.contexts is None else self.contexts.shape[1]
        text.set_vocabulary(Vocabulary.from_names(texts), self.text_encoder, num_contexts)
        return normalize(text(self.text_encoder, self.contexts)[0], dim=-1)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        """Logits at the resolution of the head, (N, K, h, w)."""
        if self.pixel_head is not None or self._trail is not None:
            return self.head_scores(inputs)[0]
        return super()._forward(inputs, data_samples)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits of whole pictures in their size, (N, K, H, W)."""
        if self.pixel_head is not None or self._trail is not None:
            return resize(self.head_scores(inputs)[0], size_of(inputs), self.align_corners)
        return super().encode_decode(inputs, batch_img_metas)

    def _unrelated_text(self) -> Tensor | None:
        """Embeddings of words that have nothing to do with the vocabulary, (1, M, E); None: it has no use for them."""
        text = self.all_unrelated_text()
        return None if text is None else text[:, unrelated_rows(self.vocabulary)]

    def all_unrelated_text(self) -> Tensor | None:
        """Embeddings of all common nouns, (1, M, E); None: the head does not compare pixels with raw texts."""
        if not self.compares_raw_texts:
            return None
        if self.unrelated_text is None:
            self.unrelated_text = self._make_unrelated_text()
        return self.unrelated_text(self.text_encoder, self.contexts)

    @property
    def compares_raw_texts(self) -> bool:
        """Whether pixels are compared with what the text encoder says, so that they can be with any other text."""
        return self.text_head == 'raw' and self.prompting != 'pre' and hasattr(self.decode_head, 'compare')

    def _make_unrelated_text(self) -> ClassText:
        own = self.class_text
        text = ClassText(own.templates[:MAX_TEMPLATES], None).to(own.tokens.device).eval()
        num_contexts = 0 if self.contexts is None else self.contexts.shape[1]
        text.set_vocabulary(Vocabulary.from_names(unrelated_words()), self.text_encoder, num_contexts)
        return text

    def logits_for(self, inputs: Tensor, class_embeddings: Tensor) -> Tensor:
        """Logits of the decode head for class embeddings from outside.

        Args:
            inputs: images, (N, 3, H, W).
            class_embeddings: what the text encoder says of each class, (K, E).

        Returns:
            Logits at the resolution of the head, (N, K, h, w).
        """
        return self.decode_head(self.head_inputs(inputs, class_embeddings))

    def head_inputs(self, inputs: Tensor, class_embeddings: Tensor) -> list[Tensor]:
        """What the decode head takes for class embeddings from outside; see :meth:`logits_for`."""
        return self._head_inputs(self.match(inputs, class_embeddings[None]))[0]

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

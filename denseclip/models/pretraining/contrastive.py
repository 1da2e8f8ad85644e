"""CLIP from scratch: open_clip's two towers, trained on captions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from denseclip.clip.loading import build_clip
from denseclip.clip.small_bpe import small_tokenizer
from denseclip.clip.text import BPETokenizer, CLIPTextTower
from denseclip.clip.text.tokenizers import fill

from ..functional.contrastive import contrastive_loss, gather_pairs

MAX_SCALE = 100.0
"""Upper bound of the learned factor of the cosines (CLIP, section 2.5)."""


@MODELS.register_module()
class ContrastiveCLIP(BaseModel):
    """A CLIP model in training; state-dict names under ``clip.`` are open_clip's.

    :func:`denseclip.models.pretraining.export.export_clip` makes a folder of it that every tool of the suite loads.

    Args:
        architecture: open_clip configuration (``embed_dim``, ``vision_cfg``, ``text_cfg``). ``vocab_size`` is that of
            the tokenizer and is filled in.
        words: Words that the tokenizer knows as a whole; others are spelled with shorter pieces. None: CLIP's full
            vocabulary of 49,408 pieces. ``'miniworld'``: the words of miniworld's captions.
        data_preprocessor: Of MMEngine; ``ImgDataPreprocessor`` with the mean and std that the weights shall have.
        init_cfg: Of MMEngine.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021.
    """

    def __init__(
        self,
        architecture: Mapping[str, Any],
        words: Sequence[str] | str | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        bpe = SimpleTokenizer() if words is None else small_tokenizer(words)
        self.words = words
        self.tokenizer = BPETokenizer(bpe)
        self.architecture: dict[str, Any] = {
            **architecture,
            'vision_cfg': dict(architecture['vision_cfg']),
            'text_cfg': {**architecture['text_cfg'], 'vocab_size': bpe.vocab_size},
        }
        self.clip = build_clip(self.architecture)
        self.register_state_dict_pre_hook(clamp_saved_scale)

    def tokenize(self, captions: Sequence[str], device: torch.device | None = None) -> Tensor:
        """Token ids of captions; too long ones are cut.

        Args:
            captions: Sentences.
            device: Of the result.

        Returns:
            LongTensor (B, L): padded to the longest caption where padding cannot change the result (causal text
            towers), else to the context length.
        """
        limit = int(self.architecture['text_cfg'].get('context_length', 77))
        rows = [self.tokenizer(caption) for caption in captions]
        rows = [ids if len(ids) <= limit else self.tokenizer.shorten(ids, limit) for ids in rows]
        length = max(map(len, rows)) if self._causal else limit
        return torch.tensor([fill(self.tokenizer, ids, length) for ids in rows], dtype=torch.long, device=device)

    @property
    def _causal(self) -> bool:
        return CLIPTextTower.supports(getattr(self.clip, 'text', self.clip))

    def embed(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Unit-length embeddings of pictures (N, E) and of captions (B, E)."""
        clip: Any = self.clip
        if self._causal:  # the suite's walk over the same modules takes captions of any length
            texts = CLIPTextTower(getattr(clip, 'text', clip), self.tokenizer).encode_tokens(tokens)[0]
        else:
            texts = clip.encode_text(tokens)
        return F.normalize(clip.encode_image(images), dim=-1), F.normalize(texts, dim=-1)

    def forward(
        self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Run the model.

        Args:
            inputs: Normalised pictures (N, 3, H, W).
            data_samples: Hold ``caption`` and ``caption_group`` in their metainfo.
            mode: ``'loss'``; ``'predict'``, which adds unit-length ``image_embedding`` and ``text_embedding`` (E) to
                the samples; or ``'tensor'``: embeddings of the pictures.

        Raises:
            ValueError: Captions are needed and there are none.
        """
        if mode == 'tensor':
            clip: Any = self.clip
            return F.normalize(clip.encode_image(inputs), dim=-1)
        if not data_samples or not all(sample.get('caption') for sample in data_samples):
            raise ValueError(f"mode='{mode}' needs data samples with captions: end the pipeline with PackCaption")
        tokens = self.tokenize([sample.caption for sample in data_samples], inputs.device)
        images, texts = self.embed(inputs, tokens)
        if mode == 'predict':
            for sample, image, text in zip(data_samples, images, texts, strict=True):
                sample.set_data(dict(image_embedding=image, text_embedding=text))
            return list(data_samples)
        groups = group_ids([sample.caption_group for sample in data_samples], inputs.device)
        return self._loss(*gather_pairs(images, texts, groups))

    def _loss(self, images: Tensor, texts: Tensor, groups: Tensor) -> dict[str, Tensor]:
        clip: Any = self.clip
        clamp_scale(clip)
        scale = clip.logit_scale.exp()
        with torch.no_grad():
            hits = (images.detach() @ texts.detach().T).argmax(dim=1)
            accuracy = (groups[hits] == groups).float().mean()
        return {'loss': contrastive_loss(images, texts, scale, groups), 'accuracy': accuracy, 'scale': scale.detach()}


def clamp_scale(clip: Any) -> None:
    """Put the logarithm of the factor of the cosines back into [0, ln 100], as in CLIP's own training.

    Beyond it a clamp in the forward pass alone would leave it without a gradient for good. Call this before each loss
    and before weights are saved, not in ``train_step``: MMEngine's wrapper for distributed training has a step of its
    own and leaves out that of the model.

    Args:
        clip: A CLIP model of open_clip.
    """
    clip.logit_scale.data.clamp_(0, math.log(MAX_SCALE))  # by `data`: losses with a graph may be waiting


def clamp_saved_scale(model: Any, *_: Any) -> None:
    """Before ``state_dict``: what is saved is in the range, too."""
    clamp_scale(model.clip)


def group_ids(groups: Sequence[str], device: torch.device | None = None) -> Tensor:
    """Integers that are equal exactly where the strings are (up to collisions of 63 bits), in every process alike."""
    digests = (hashlib.blake2b(group.encode(), digest_size=8).digest() for group in groups)
    return torch.tensor([int.from_bytes(d, 'big') >> 1 for d in digests], dtype=torch.long, device=device)

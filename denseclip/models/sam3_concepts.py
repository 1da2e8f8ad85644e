"""SAM 3 as transformers has it: a picture is encoded once, phrases once, and then each phrase is looked for in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.clip.text import PromptTooLongError
from denseclip.clip.text.tokenizers import default_tokenizer, fill
from denseclip.core.placement import size_of
from denseclip.weights import WeightFileError

from .transformers_parts import folder_of, part_of_transformers, pictures_of, settings_of, side_of, sizes_in

KINDS = ('sam3', 'sam3_video')
"""What ``config.json`` calls models that hold one; in the second it is the detector."""
MEAN = STD = (0.5, 0.5, 0.5)
"""What pictures in 0..1 are normalised with, unless the folder of the weights says otherwise."""
BUDGET = 2 * 2**30
"""Bytes that the phrases of one pass may take."""
_PHRASES_AT_ONCE = 256
_CLIPS_WORDS = 49408
_MAPS_IN_FLIGHT = 4


@dataclass(frozen=True)
class PhraseFeatures:
    """Encoded phrases.

    Attributes:
        tokens: Features of their tokens.
        mask: Which of these are no padding.

    Shape:
        - tokens: :math:`(P, L, D)`; mask: :math:`(P, L)`
    """

    tokens: Tensor
    mask: Tensor

    def __len__(self) -> int:
        """Number of phrases."""
        return len(self.tokens)


@dataclass(frozen=True)
class Concepts:
    """What SAM 3 finds of some phrases in one picture.

    Attributes:
        masks: Logits of the masks of its queries.
        scores: That a query is an object that the phrase names and that the picture shows it, 0..1.
        presence: That the picture shows what the phrase names at all, 0..1.
        semantic: Logits of all pixels that the phrase names.

    Shape:
        - masks: :math:`(P, Q, h, w)`; scores: :math:`(P, Q)`; presence: :math:`(P,)`; semantic: :math:`(P, h, w)`
    """

    masks: Tensor
    scores: Tensor
    presence: Tensor
    semantic: Tensor


class SAM3Concepts(nn.Module):
    """The detector of SAM 3.

    Source: SAM 3 (Carion et al., 2025).

    Args:
        sam: Its sizes, as ``config.json`` of transformers gives them (``vision_config``, ``text_config`` ...; nothing
            means those of the published model); a folder, of which that file is read, not the weights; or a built
            ``Sam3Model``.
        phrases_at_once: How many phrases one pass looks for; None: as many as :data:`BUDGET` allows.

    Attributes:
        model: transformers' ``Sam3Model``.
        size: Height and width of the pictures that it takes.

    Raises:
        ImportError: If transformers has no SAM 3.
        WeightFileError: If a folder describes another model.
    """

    def __init__(
        self, sam: Mapping[str, Any] | str | Path | nn.Module | None = None, phrases_at_once: int | None = None
    ) -> None:
        super().__init__()
        if phrases_at_once is not None and phrases_at_once < 1:
            raise ValueError(f'phrases_at_once is {phrases_at_once}; it must be at least 1, or None.')
        self.model: Any = sam if isinstance(sam, nn.Module) else _fresh(sam)
        config: Any = self.model.config
        self.size = side_of(config.image_size)
        self.phrases_at_once = phrases_at_once
        self.eval().requires_grad_(False)
        words = config.text_config.vocab_size
        if words != _CLIPS_WORDS:
            raise ValueError(f"this SAM 3 has {words} word pieces; only those with CLIP's {_CLIPS_WORDS} are known.")

    def train(self, mode: bool = True) -> SAM3Concepts:
        """Stay in evaluation mode: it is used as it is."""
        del mode
        return super().train(False)

    # --- phrases ------------------------------------------------------------------------------------------------

    def tokenize(self, phrases: Sequence[str]) -> list[list[int]]:
        """CLIP's ids of phrases, start and end included.

        Raises:
            PromptTooLongError: If one is longer than SAM 3 reads.
        """
        limit, encode = self.model.config.text_config.max_position_embeddings, default_tokenizer()
        found = [encode(phrase) for phrase in phrases]
        for phrase, ids in zip(phrases, found, strict=True):
            if len(ids) > limit:
                raise PromptTooLongError(
                    f"'{phrase}' has {len(ids)} tokens with its start and end tokens, SAM 3 reads {limit}: name the "
                    'class by a short noun phrase.'
                )
        return found

    @torch.no_grad()
    def encode(self, phrases: Sequence[str]) -> PhraseFeatures:
        """Features of phrases, padded to the longest of them, which changes nothing: the tower looks back only."""
        ids = self.tokenize(phrases)
        length, device = max(map(len, ids)), self.device
        tokens = torch.tensor([fill(default_tokenizer(), one, length) for one in ids], device=device)
        mask = torch.tensor([[place < len(one) for place in range(length)] for one in ids], device=device)
        parts = []
        for start in range(0, len(ids), _PHRASES_AT_ONCE):
            part = slice(start, start + _PHRASES_AT_ONCE)
            parts.append(self.model.get_text_features(tokens[part], mask[part].long()).pooler_output)
        return PhraseFeatures(torch.cat(parts), mask)

    # --- pictures -----------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def see(self, image: Tensor) -> SimpleNamespace:
        """Features of one normalised picture (3, H, W), which is brought to :attr:`size` unless it has it."""
        batch = image[None]
        if size_of(batch) != self.size:
            batch = F.interpolate(batch, size=self.size, mode='bilinear', align_corners=False, antialias=True)
        seen = self.model.get_vision_features(batch)
        return SimpleNamespace(
            fpn_hidden_states=tuple(seen.fpn_hidden_states),
            fpn_position_encoding=tuple(seen.fpn_position_encoding),
            hidden_states=None,
            attentions=None,
        )

    def find(self, image: Tensor, phrases: PhraseFeatures) -> Iterator[Concepts]:
        """Look for all phrases in a picture, some at a time.

        Args:
            image: Normalised picture (3, H, W).
            phrases: What to look for.
        """
        seen = self.see(image)
        step = self.phrases_at_once or self.phrases_within(BUDGET)
        for start in range(0, len(phrases), step):
            part = slice(start, start + step)
            yield self._look(seen, phrases.tokens[part], phrases.mask[part])

    def phrases_within(self, budget: int) -> int:
        """How many phrases may be looked for at once; their maps take the most room."""
        finest = self.model.config.vision_config.backbone_feature_sizes[0]
        queries = self.model.config.detr_decoder_config.num_queries
        width = self.model.config.mask_decoder_config.hidden_size
        bytes_of_one = 4 * int(finest[0]) * int(finest[1]) * (queries + _MAPS_IN_FLIGHT * width)
        return max(1, budget // bytes_of_one)

    def _look(self, seen: SimpleNamespace, tokens: Tensor, mask: Tensor) -> Concepts:
        count = len(tokens)

        def repeat(maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(one.expand(count, *one.shape[1:]) for one in maps)

        each = SimpleNamespace(**vars(seen))
        each.fpn_hidden_states = repeat(seen.fpn_hidden_states)
        each.fpn_position_encoding = repeat(seen.fpn_position_encoding)
        # Without the mask, SAM 3 would attend to the padding of the phrases.
        out = self.model(
            vision_embeds=each, text_embeds=SimpleNamespace(pooler_output=tokens), attention_mask=mask.long()
        )
        presence = out.presence_logits.sigmoid()
        return Concepts(out.pred_masks, out.pred_logits.sigmoid() * presence, presence[:, 0], out.semantic_seg[:, 0])


def architecture(folder: Path) -> dict[str, Any]:
    """Sizes of the SAM 3 in a folder, for :class:`SAM3Concepts`."""
    return sizes_in(settings_of(folder, KINDS), KINDS[0])


def picture_facts(folder: Path) -> dict[str, Any]:
    """Mean and standard deviation of 0..1, and size, that a folder gives for its pictures."""
    facts = pictures_of(folder)
    found = {'mean': tuple(facts.get('image_mean') or MEAN), 'std': tuple(facts.get('image_std') or STD)}
    return {**found, 'size': side_of(facts['size'])} if facts.get('size') else found


def _fresh(sam: Mapping[str, Any] | str | Path | None) -> nn.Module:
    """A model of some sizes with fresh weights."""
    who = 'SAM 3'
    kind, sizes = part_of_transformers('Sam3Model', who), part_of_transformers('Sam3Config', who)
    given = architecture(folder_of(sam)) if isinstance(sam, str | Path) else sizes_in(sam or {}, KINDS[0])
    try:
        return kind(sizes.from_dict(given))
    except Exception as error:  # of transformers and of its checks of types: the sizes are of another model
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = f" of '{sam}'" if isinstance(sam, str | Path) else ''
        raise WeightFileError(f'the sizes{where} describe no SAM 3 ({reason:.200}).') from error

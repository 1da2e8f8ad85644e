"""Segment Anything from its own package or from transformers, asked for what its encoder sees and for masks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.constants import IMAGENET_MEAN as MEAN
from open_clip.constants import IMAGENET_STD as STD
from torch import Tensor, nn

from denseclip.core.placement import Size, pad_to, resize
from denseclip.core.precision import full_precision
from denseclip.models.transformers_parts import folder_of, pictures_of, pretrained_model
from denseclip.weights import load_into, read_state_dict, resolve, weight_file

from .sight import LastAttention

PROMPTS_AT_ONCE = 32


def segment_anything_model(model: str, pretrained: str | None, who: str, instead: str) -> Any:
    """A model of the package ``segment_anything``, in evaluation mode and frozen.

    Args:
        model: Name in its registry: ``'vit_b'``, ``'vit_l'`` or ``'vit_h'``.
        pretrained: Weight source (see ``denseclip.weights.resolve``); None: random weights.
        who: What needs it, for messages.
        instead: What else will do, for messages.

    Raises:
        ImportError: If the package is not installed.
        ValueError: If it has no such model.
    """
    try:
        import segment_anything
    except ImportError as error:
        raise ImportError(
            f'{who} needs the package segment_anything (pip install segment-anything); or {instead}.'
        ) from error
    if model not in segment_anything.sam_model_registry:
        known = ', '.join(segment_anything.sam_model_registry)
        raise ValueError(f"segment_anything has no model '{model}'; choose from {known}.")
    sam = segment_anything.sam_model_registry[model](checkpoint=None).eval().requires_grad_(False)
    if pretrained is not None:
        file: Path = weight_file(resolve(pretrained))
        load_into(sam, read_state_dict(file), source=file)
    return sam


def longest_side(size: Size, side: int) -> Size:
    """Height and width of a picture whose longer side becomes ``side``, as Segment Anything rounds them."""
    factor = side / max(size)
    return max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))


@dataclass(frozen=True)
class SAMView:
    """A picture as SAM's encoder has seen it.

    Attributes:
        features: For its decoder, (1, C, g, g).
        attention: Of its last block.
        size: Of the picture, in pixels.
        seen: Of the picture in SAM's square.
    """

    features: Tensor
    attention: LastAttention
    size: Size
    seen: Size


class PromptedSAM(nn.Module):
    """One interface over both packages.

    Args:
        sam: ``SamModel`` of transformers, or ``Sam`` of segment_anything.
        mean: Of RGB in 0..1, that pictures are normalised with.
        std: Likewise.

    Raises:
        ValueError: If its last block does not see the whole picture.
    """

    def __init__(self, sam: nn.Module, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> None:
        super().__init__()
        model: Any = sam.eval().requires_grad_(False)
        self.sam: Any = model
        self.mean, self.std = tuple(mean), tuple(std)
        self._of_transformers = hasattr(model, 'vision_encoder')
        if self._of_transformers:
            encoder = model.vision_encoder
            blocks, self.side, self.patch = encoder.layers, int(encoder.image_size), int(encoder.config.patch_size)
        else:
            encoder = model.image_encoder
            blocks, self.side = encoder.blocks, int(encoder.img_size)
            self.patch = int(encoder.patch_embed.proj.kernel_size[0])
        if blocks[-1].window_size:
            raise ValueError('the last block of this Segment Anything looks through windows: its affinity ends there.')

    @property
    def _encoder(self) -> Any:
        return self.sam.vision_encoder if self._of_transformers else self.sam.image_encoder

    @property
    def _last(self) -> Any:
        return (self._encoder.layers if self._of_transformers else self._encoder.blocks)[-1]

    @classmethod
    def of(cls, source: str | Path | None, model: str, pretrained: str | None, who: str) -> PromptedSAM:
        """From a folder of transformers, or from weights of segment_anything.

        Raises:
            ImportError: If the package is not installed.
            WeightFileError: If the folder holds no such model.
        """
        if source is None:
            other = 'give a folder of SAM for transformers (source=)'
            return cls(segment_anything_model(model, pretrained, who, other))
        folder = folder_of(source)
        facts = pictures_of(folder)
        mean, std = (tuple(facts.get(key) or usual) for key, usual in (('image_mean', MEAN), ('image_std', STD)))
        return cls(pretrained_model('SamModel', folder, ('sam',), who), mean, std)

    def train(self, mode: bool = True) -> PromptedSAM:
        """Stay in evaluation mode."""
        del mode
        return super().train(False)

    @property
    def mask_side(self) -> int:
        """Side of rough masks and of the decoder's answers."""
        return 4 * (self.side // self.patch)

    @torch.no_grad()
    def see(self, picture: Tensor, size: Size) -> SAMView:
        """Run the encoder.

        Args:
            picture: RGB in 0..255, (3, H, W), of any size.
            size: Height and width that the picture is to be seen in.
        """
        seen = longest_side(size, self.side)
        small = picture[None].float()
        if tuple(small.shape[2:]) != seen:
            small = F.interpolate(small, seen, mode='bilinear', align_corners=False, antialias=True)
        mean, std = (
            picture.new_tensor(numbers, dtype=torch.float32).view(3, 1, 1) for numbers in (self.mean, self.std)
        )
        square = pad_to((small.round().clamp(0, 255) / 255 - mean) / std, (self.side, self.side))
        with self._listening() as heard:
            out = self._encoder(square.to(self._dtype))
        attn = self._last.attn
        heads = attn.num_attention_heads if self._of_transformers else attn.num_heads
        sides = heard[0][0].unflatten(-1, (3, heads, -1)).permute(2, 3, 0, 1, 4)
        grid = max(1, seen[0] // self.patch), max(1, seen[1] // self.patch)
        tables = (attn.rel_pos_h, attn.rel_pos_w) if attn.use_rel_pos else (None, None)
        features = out.last_hidden_state if self._of_transformers else out
        return SAMView(features, LastAttention(sides, grid, *tables), size, seen)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self._encoder.parameters()).dtype

    @contextmanager
    def _listening(self) -> Iterator[list[Tensor]]:
        """Projections of the last attention, (1, g, g, 3 C), once the encoder has run."""
        heard: list[Tensor] = []
        hook = self._last.attn.qkv.register_forward_hook(lambda *call: heard.append(call[2]))
        try:
            yield heard
        finally:
            hook.remove()

    @torch.no_grad()
    def masks(
        self, view: SAMView, points: Tensor, boxes: Tensor, rough: Tensor, by_rows: bool = False
    ) -> tuple[Tensor, Tensor]:
        """One mask for each prompt, and how good SAM takes it to be.

        Args:
            view: The picture.
            points: A point inside of each, ``(x, y)`` in pixels of the picture as SAM sees it.
            boxes: ``(x1, y1, x2, y2)`` likewise.
            rough: Logits.
            by_rows: Embed rough masks as ``segment_anything`` does those that come without a batch: normalised along
                rows in place of channels.

        Returns:
            Logits, and qualities 0..1.

        Shape:
            - points: :math:`(P, 2)`; boxes: :math:`(P, 4)`; rough: :math:`(P, s, s)` of ``mask_side``
            - results: :math:`(P, s, s)` and :math:`(P,)`
        """
        ask = self._ask_transformers if self._of_transformers else self._ask_package
        with full_precision(view.features.device.type):
            rough = rough[:, None].float()
            dense = self._embedded_by_rows(rough) if by_rows else None
            logits, quality = ask(view.features.float(), points.float(), boxes.float(), rough, dense)
        return logits.flatten(0, -3), quality.flatten()

    def _ask_transformers(
        self, features: Tensor, points: Tensor, boxes: Tensor, rough: Tensor, dense: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        count = len(points)
        sparse, usual = self.sam.prompt_encoder(
            input_points=points[:, None, None],
            input_labels=torch.ones((count, 1, 1), dtype=torch.int, device=points.device),
            input_boxes=boxes[:, None],
            input_masks=rough if dense is None else None,
        )
        return self.sam.mask_decoder(
            image_embeddings=features.expand(count, -1, -1, -1),
            image_positional_embeddings=self.sam.get_image_wide_positional_embeddings().expand(count, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=usual if dense is None else dense,
            multimask_output=False,
        )

    def _ask_package(
        self, features: Tensor, points: Tensor, boxes: Tensor, rough: Tensor, dense: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        inside = torch.ones((len(points), 1), dtype=torch.int, device=points.device)
        sparse, usual = self.sam.prompt_encoder(
            points=(points[:, None], inside), boxes=boxes, masks=rough if dense is None else None
        )
        return self.sam.mask_decoder(
            image_embeddings=features,
            image_pe=self.sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=usual if dense is None else dense,
            multimask_output=False,
        )

    def _embedded_by_rows(self, rough: Tensor) -> Tensor:
        """Embeddings of rough masks (P, 1, s, s), both norms taken along rows."""
        encoder = self.sam.prompt_encoder
        if self._of_transformers:
            parts = encoder.mask_embed
            first, second = (parts.conv1, parts.layer_norm1), (parts.conv2, parts.layer_norm2)
            act, last = parts.activation, parts.conv3
        else:
            parts = encoder.mask_downscaling
            first, second, act, last = parts[0:2], parts[3:5], parts[2], parts[6]
        x = rough
        for conv, norm in (first, second):
            x = conv(x)
            x = x - x.mean(dim=2, keepdim=True)
            x = x / (x.square().mean(dim=2, keepdim=True) + norm.eps).sqrt()
            x = act(x * norm.weight[:, None, None] + norm.bias[:, None, None])
        return last(x)

    def enlarge(self, view: SAMView, logits: Tensor) -> Tensor:
        """Logits (P, s, s) in the picture's size, (P, H, W)."""
        square = resize(logits, (self.side, self.side))
        return resize(square[:, : view.seen[0], : view.seen[1]], view.size)

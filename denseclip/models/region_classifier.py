"""Stage 2 of OVSeg: embeddings of masks from pictures of them, by a CLIP that knows masked pictures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.towers import DenseReadOut
from denseclip.core.lazy_weights import CLIPOwner
from denseclip.weights import read_state_dict, resolve, weight_file

from .functional.mask_prompts import encode_with_masks
from .functional.mask_selection import representatives
from .functional.region_crops import RegionCrops, crop_regions
from .open_clip_parts import FOLDERS, OpenCLIPParts

PROMPTS_FILE = 'mask_prompts.safetensors'
"""File beside the weights of an adapted CLIP that holds its mask prompts, under :data:`PROMPTS_KEY`."""
PROMPTS_KEY = 'visual.mask_embedding'
_FILLS = ('mean', 'zero')
_BATCHES_AT_ONCE = 8  # so many batches of pictures are cut out together


@dataclass(frozen=True)
class RegionEmbeddings:
    """Embeddings of masks in the joint space.

    Attributes:
        embeddings: Unit-length rows; zeros where a mask is not valid.
        valid: Masks that have been looked at, or whose near-duplicate has.

    Shape:
        - embeddings: :math:`(Q, E)`; valid: :math:`(Q,)`, bool
    """

    embeddings: Tensor
    valid: Tensor


@MODELS.register_module()
class RegionClassifier(CLIPOwner, nn.Module):
    """Cuts masks out of a picture and embeds each with CLIP's image tower, in batches.

    Source: OVSeg (Liang et al., CVPR 2023), sections 3.2 and 3.3.

    Args:
        clip: The CLIP model: settings of :class:`OpenCLIPParts`, or a built one. A ``local-dir:`` folder with a file
            ``mask_prompts.safetensors`` brings its mask prompts.
        threshold: A pixel is in a mask if its share is above this. The paper's models take 0.4 (Swin-B) and 0.5
            (R101c), its demonstration 0.35.
        fill: Colour around the masks: ``'mean'`` (of CLIP's normalisation, so that it becomes zero), ``'zero'``
            (black), or RGB in 0..255.
        expand: Factor of the sides of the masks' boxes.
        matting: Mix masks and background by the masks' shares instead of cutting.
        prompts: Mask prompts: a safetensors file with ``visual.mask_embedding``, or the tensor (D, hw, C) or
            (D, 1, C). None takes those of the folder, if there are any.
        prompt_depth: Number of levels of prompts that a checkpoint will bring; 0: as many as ``prompts`` has.
        use_prompts: Use them; without, the tower sees the coloured background.
        batch_size: Pictures of masks per pass through the tower.
        min_area: Masks that cover less of the picture, 0..1, are left to the first stage. This and the next change
            results, and save time.
        max_overlap: Masks that overlap another by more, 0..1, take its embedding; None embeds all of them.

    Attributes:
        tower: Image tower.
        mask_embedding: Mask prompts, a parameter; None without prompts.
    """

    sourced_prefixes = ('tower.',)

    def __init__(
        self,
        clip: Mapping[str, Any] | OpenCLIPParts,
        *,
        threshold: float = 0.4,
        fill: str | Sequence[float] = 'mean',
        expand: float = 1.0,
        matting: bool = False,
        prompts: str | Path | Tensor | None = None,
        prompt_depth: int = 0,
        use_prompts: bool = True,
        batch_size: int = 32,
        min_area: float = 0.0,
        max_overlap: float | None = None,
    ) -> None:
        super().__init__()
        if isinstance(fill, str) and fill not in _FILLS:
            raise ValueError(f"fill='{fill}' is unknown; choose from {', '.join(_FILLS)}, or give RGB in 0..255.")
        if batch_size < 1:
            raise ValueError(f'batch_size={batch_size} must be at least 1.')
        parts = OpenCLIPParts(**clip) if isinstance(clip, Mapping) else clip
        self.own(parts)
        self.tower = parts.clip.image_tower(DenseReadOut(dense=False, pooled=True))
        self.threshold, self.expand, self.matting = threshold, expand, matting
        self.use_prompts, self.batch_size = use_prompts, batch_size
        self.min_area, self.max_overlap = min_area, max_overlap
        spec = self.tower.preprocess
        self.size = spec.size
        numbers = spec.as_255()
        self.mean, self.std = numbers['mean'], numbers['std']
        self.fill = {'mean': self.mean, 'zero': [0.0] * 3}[fill] if isinstance(fill, str) else list(fill)
        found = prompts if prompts is not None else _folder_prompts(parts.model)
        self.mask_embedding: nn.Parameter | None = None
        self._untaught = False  # whether the prompts are still random numbers
        self.register_load_state_dict_pre_hook(_note_prompts)
        if found is not None:
            self.set_prompts(found if isinstance(found, Tensor) else _read_prompts(found))
        elif prompt_depth:
            self.set_prompts(torch.empty(self._prompt_shape(prompt_depth)).normal_(std=0.02))
            self._untaught = True
        self.prompts_have_source = found is not None or not prompt_depth

    def _prompt_shape(self, depth: int) -> tuple[int, int, int]:
        """One prompt for each patch of the tower's own picture size."""
        rows, columns = (side // patch for side, patch in zip(self.size, self.tower.multiple, strict=True))
        return (depth, rows * columns, self._token_width())

    def _token_width(self) -> int:
        visual: Any = self.tower.visual
        if hasattr(visual, 'trunk') and hasattr(visual.trunk, 'blocks'):
            return int(visual.trunk.embed_dim)
        if not hasattr(visual, 'transformer'):
            raise ValueError(
                f'{type(visual).__name__} has no patch tokens for mask prompts: use a vision transformer, or neither '
                'prompts nor prompt_depth.'
            )
        return int(visual.conv1.out_channels)

    def set_prompts(self, prompts: Tensor | None) -> None:
        """Use other mask prompts, or none.

        Args:
            prompts: (D, hw, C) or (D, 1, C).

        Raises:
            ValueError: If they do not fit the tower.
        """
        self._untaught = False
        if prompts is None:
            self.mask_embedding = None
            return
        width = self._token_width()
        if prompts.ndim != 3 or prompts.shape[2] != width:
            raise ValueError(f'mask prompts must be (depth, patches or 1, {width}), got {tuple(prompts.shape)}.')
        place = next(self.tower.parameters())
        value = prompts.detach().to(device=place.device, dtype=torch.float32)
        self.mask_embedding = nn.Parameter(value.clone(), requires_grad=False)

    def crops(self, image: Tensor, masks: Tensor) -> RegionCrops:
        """Normalised pictures of the masks that have a pixel.

        Args:
            image: RGB in 0..255.
            masks: Shares of the pixels, 0..1, or boolean.

        Shape:
            - image: :math:`(3, H, W)`; masks: :math:`(Q, H, W)`
        """
        return crop_regions(
            image,
            masks,
            size=self.size,
            threshold=self.threshold,
            fill=self.fill,
            expand=self.expand,
            matting=self.matting,
            mean=self.mean,
            std=self.std,
        )

    def encode(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Unit-length embeddings of pictures of masks, in batches.

        Shape:
            - pictures: :math:`(V, 3, S_h, S_w)`; masks: :math:`(V, S_h, S_w)`; result: :math:`(V, E)`
        """
        self.need_weights()
        dtype = next(self.tower.parameters()).dtype
        prompts = self.mask_embedding if self.use_prompts else None
        if prompts is not None and self._untaught:
            self._untaught = False  # say it once
            warnings.warn(
                'the mask prompts of the second stage are random numbers: neither a folder nor a checkpoint brought '
                'any. Give an adapted CLIP (clip.model=local-dir:FOLDER), or set region_classifier.prompt_depth=0.',
                stacklevel=2,
            )
        batches = zip(pictures.split(self.batch_size), masks.split(self.batch_size), strict=True)
        found = [encode_with_masks(self.tower, part.to(dtype), frames, prompts) for part, frames in batches]
        if not found:
            return pictures.new_zeros((0, self.tower.embed_dim))
        return F.normalize(torch.cat(found).float(), dim=-1)

    def forward(self, image: Tensor, masks: Tensor, scores: Tensor | None = None) -> RegionEmbeddings:
        """Embeddings of masks.

        Args:
            image: RGB in 0..255.
            masks: Shares of the pixels, 0..1, or boolean.
            scores: Which of two near-duplicates is kept; None: the first one.

        Shape:
            - image: :math:`(3, H, W)`; masks: :math:`(Q, H, W)`; scores: :math:`(Q,)`
        """
        numbers = torch.arange(len(masks), device=masks.device)
        stand_in = numbers
        if len(masks) and (self.min_area > 0 or self.max_overlap is not None):
            stand_in = representatives(
                masks,
                min_area=self.min_area,
                max_overlap=self.max_overlap,
                scores=scores,
                threshold=self.threshold,
            )
        embeddings = image.new_zeros((len(masks), self.tower.embed_dim), dtype=torch.float32)
        valid = torch.zeros(len(masks), dtype=torch.bool, device=masks.device)
        for chosen in (stand_in == numbers).nonzero()[:, 0].split(_BATCHES_AT_ONCE * self.batch_size):
            crops = self.crops(image, masks if len(chosen) == len(masks) else masks[chosen])
            looked_at = chosen[crops.valid]
            embeddings[looked_at] = self.encode(crops.pictures, crops.masks)
            valid[looked_at] = True
        source = stand_in.clamp_min(0)
        valid = valid[source] & (stand_in >= 0)
        return RegionEmbeddings(embeddings[source] * valid[:, None], valid)


def _note_prompts(module: RegionClassifier, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Prompts of a checkpoint are what training made of them."""
    if f'{prefix}mask_embedding' in state:
        module._untaught = False


def _folder_prompts(model: str) -> Path | None:
    """Mask prompts beside the weights of a folder, if there are any."""
    if not model.startswith(FOLDERS):
        return None
    file = resolve(model) / PROMPTS_FILE
    return file if file.is_file() else None


def _read_prompts(source: str | Path) -> Tensor:
    file = weight_file(resolve(str(source)))
    state = read_state_dict(file)
    if set(state) != {PROMPTS_KEY}:
        raise ValueError(f"'{file}' must hold the one tensor '{PROMPTS_KEY}', but it holds {', '.join(sorted(state))}.")
    return state[PROMPTS_KEY]

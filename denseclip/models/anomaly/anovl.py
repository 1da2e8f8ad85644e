"""AnoVL: adapting vision-language models for unified zero-shot anomaly localization (Deng et al., arXiv 2308.15939)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.clip.towers import DenseReadOut
from denseclip.core.precision import full_precision
from denseclip.models.functional.anomaly_scores import abnormal_probability, cut_tiles, smooth, stitch_tiles, upsample
from denseclip.models.functional.anomaly_views import COUNT, picture_views
from denseclip.structures import AnomalyDataSample

from .adaptation import Draws, TestTimeAdaptation
from .answers import PictureScore
from .base import AnomalyModel, in_parts
from .dual_path import ATTENTIONS, dual_path, supports_dual_path
from .state_text import StateText


@MODELS.register_module()
class AnoVL(AnomalyModel):
    """Zero-shot anomaly localization with V-V attention, state prompts and test-time adaptation.

    The map: patch embeddings of the V-V path, cosine with the two states, softmax without a temperature (values near
    0.5, only their order counts), 3 x 3 mean, bilinear upsampling. The score: class token of the ordinary path, the
    same softmax, mean over views and tiles.

    Args:
        clip: See :class:`AnomalyModel`; the paper's is ViT-B-16-plus-240 with LAION-400M epoch 32.
        prompts: See :class:`AnomalyModel`.
        dual_layers: How many blocks at the end have the V-V path.
        attention: Of that path: ``'vv'``, ``'qq'``, ``'kk'``; ``'ordinary'`` reads the patches of plain CLIP.
        views: Average the score over 22 views of the picture (the MVTec script).
        tiles: Cut pictures of any aspect ratio into square tiles of the tower's size (the VisA script has two); pair it
            with ``keep_ratio``. Without it the tower takes pictures as they come, its positions fitted to their grid.
        adaptation: Arguments of :class:`TestTimeAdaptation`; None leaves it out (the paper's TFA).
        adapt_on_map: Take the adaptation's loss on the upsampled, stitched map (the VisA script) instead of on patches;
            by default where there are tiles.
        smoothing: 3 x 3 mean over the patch grid.
        pair_scale: Factor of the cosines while a pair of prompts is learnt.
        pass_size: Most pictures in one pass through the tower; bounds memory for many views and tiles.
        **kwargs: Arguments of :class:`AnomalyModel`.
    """

    def __init__(
        self,
        clip: Any,
        prompts: str | Mapping[str, Any] = 'anovl',
        dual_layers: int = 12,
        attention: str = 'vv',
        views: bool = True,
        tiles: bool = False,
        adaptation: Mapping[str, Any] | None = None,
        adapt_on_map: bool | None = None,
        smoothing: bool = True,
        pair_scale: float = 100.0,
        pass_size: int = 32,
        **kwargs: Any,
    ) -> None:
        read_out = DenseReadOut(dense=False, pos_resize='bicubic', antialias=True)
        super().__init__(clip, prompts, read_out=read_out, **kwargs)
        if attention not in ATTENTIONS:
            raise ValueError(f'attention="{attention}" is unknown; choose from {", ".join(ATTENTIONS)}.')
        if not supports_dual_path(self.image_tower):
            raise ValueError(
                f'AnoVL needs a vision transformer of open_clip or timm, {type(self.image_tower).__name__} is none.'
            )
        self.dual_layers, self.attention = dual_layers, attention
        self.views, self.tiles, self.smoothing, self.pass_size = views, tiles, smoothing, pass_size
        self.pair_scale = pair_scale
        self.adaptation = None if adaptation is None else TestTimeAdaptation(**adaptation)
        self.adapt_on_map = tiles if adapt_on_map is None else adapt_on_map

    @property
    def tile_side(self) -> int:
        """Side of a tile in pixels."""
        return min(self.image_size)

    def score_picture(self, image: Tensor, name: str, draws: Draws | None = None) -> PictureScore:
        """Raw map and score of one picture.

        Args:
            image: Normalised picture (1, 3, H, W).
            name: What it shows.
            draws: Randomness of the adaptation; by default its own.
        """
        text = self.text_of(name)
        size = (image.shape[-2], image.shape[-1])
        tiles = cut_tiles(image, self.tile_side) if self.tiles else image
        pooled, tokens = self.embed(tiles)
        with full_precision(tokens.device.type):
            if self.adaptation is not None:
                to_map = (lambda maps: self.to_picture(maps, size)) if self.adapt_on_map else None
                tokens = self.adaptation(tokens, text, to_map, draws, owner=(name, self.prompts_of(name))).tokens
            pixels = self.pixel_map(tokens, text, size)
        return PictureScore(pixels, self.view_scores(tiles, pooled, text).mean())

    def loss(self, inputs: Tensor, data_samples: Sequence[AnomalyDataSample]) -> dict[str, Tensor]:
        """Cross-entropies of a pair of prompts that is learnt, by whole pictures and by patches.

        Args:
            inputs: Normalised pictures (N, 3, H, W) of one size.
            data_samples: Their ``gt_label``; patches count where there is a ``gt_mask``.

        Returns:
            ``loss_pictures``; ``loss_patches``, in which good and bad patches weigh the same.

        Raises:
            NotImplementedError: If the prompts are written ones.

        Source: CLIP-LIT (Liang et al., ICCV 2023), equation 1, for the pictures.
        """
        if self.pair is None:
            return super().loss(inputs, data_samples)
        with torch.no_grad():
            pooled, patches = self.embed(inputs)
        names = [self.name_in(sample) for sample in data_samples]
        rows = {name: self.pair(self.text_tower, name) for name in dict.fromkeys(names)}
        states = torch.stack([rows[name] for name in names]).float()
        labels = torch.tensor([int(sample.gt_label) for sample in data_samples], device=pooled.device)
        losses = {'loss_pictures': F.cross_entropy(self.pair_logits(pooled[:, None], states)[:, 0], labels)}
        masked = [n for n, sample in enumerate(data_samples) if 'gt_mask' in sample]
        if masked:
            masks = torch.stack([data_samples[n].gt_mask.data.float() for n in masked]).to(pooled.device)
            bad = F.adaptive_max_pool2d(masks, patches.shape[1:3]).flatten(1).long()
            logits = self.pair_logits(patches[masked].flatten(1, 2), states[masked]).flatten(0, 1)
            each = F.cross_entropy(logits, bad.flatten(), reduction='none')
            parts = [(each * part).sum() / part.sum().clamp_min(1) for part in (1 - bad.flatten(), bad.flatten())]
            losses['loss_patches'] = (parts[0] + parts[1]) / 2
        return losses

    def pair_logits(self, features: Tensor, states: Tensor) -> Tensor:
        """Cosines with the two states times the scale of training.

        Shape:
            - features: :math:`(N, L, E)`; states: :math:`(N, 2, E)`; result: :math:`(N, L, 2)`
        """
        return self.pair_scale * torch.einsum('nle,nce->nlc', F.normalize(features, dim=-1), states)

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Image embeddings (T, E) of the ordinary path and patch embeddings (T, h, w, E) of the V-V path."""
        parts = [
            dual_path(self.image_tower, part, self.dual_layers, self.attention)
            for part in in_parts(images, self.pass_size)
        ]
        return torch.cat([p.pooled for p in parts]).float(), torch.cat([p.patches for p in parts]).float()

    def pixel_map(self, tokens: Tensor, text: StateText, size: tuple[int, int]) -> Tensor:
        """Patch embeddings (T, h, w, E) to the map (H, W) of the picture."""
        scores = abnormal_probability(tokens, text.states)[:, None]
        return self.to_picture(smooth(scores) if self.smoothing else scores, size)[0, 0]

    def to_picture(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps of the tiles (T, C, h, w) to one of the picture (1, C, H, W)."""
        if not self.tiles:
            return upsample(maps, size)
        side = self.tile_side
        return stitch_tiles(upsample(maps, (min(side, size[0]), min(side, size[1]))), size, side)

    def view_scores(self, tiles: Tensor, pooled: Tensor, text: StateText) -> Tensor:
        """Abnormal probability of every tile's views, (T, V); the original's embeddings are there already."""
        embeddings = pooled[:, None]
        if self.views:
            parts: list[Tensor] = []
            for some in in_parts(tiles, max(1, self.pass_size // COUNT)):
                views = picture_views(some, original=False).flatten(0, 1)
                parts += [self.image_tower(part).pooled for part in in_parts(views, self.pass_size)]
            others = torch.cat(parts).float().unflatten(0, (len(tiles), COUNT - 1))
            embeddings = torch.cat([embeddings, others], dim=1)
        with full_precision(embeddings.device.type):
            return abnormal_probability(embeddings, text.states)

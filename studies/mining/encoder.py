"""CLIP for mining: embeddings of regions and of nouns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.clip.loading import LoadedCLIP
from denseclip.clip.text_bank import TextBank
from denseclip.clip.towers import DenseReadOut
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.region_crops import crop_regions


class RegionEncoder:
    """Cuts regions out of pictures and embeds them and words with one CLIP.

    Args:
        clip: The model; its image tower runs as trained.
        templates: Sentences that nouns are put into; see :func:`denseclip.clip.templates.resolve_templates`.
        fill: Colour around a region, RGB in 0..255; None: the mean that the weights were trained with.
        expand: Factor of the box around a region.
        batch_size: Regions per pass.
        device: Where to run.
    """

    def __init__(
        self,
        clip: LoadedCLIP,
        *,
        templates: str | Sequence[str] = 'vild',
        fill: Sequence[float] | None = None,
        expand: float = 1.0,
        batch_size: int = 64,
        device: torch.device | str = 'cpu',
    ) -> None:
        clip.model.to(device).eval()
        self.device = torch.device(device)
        self.name, self.spec = clip.name, clip.preprocess
        self.tower = clip.image_tower(DenseReadOut(dense=False, pooled=True))
        self.bank = TextBank(clip.text_tower(), templates)
        normalisation = clip.preprocess.as_255()
        self.mean, self.std = normalisation['mean'], normalisation['std']
        self.fill = tuple(self.mean if fill is None else fill)
        self.expand, self.batch_size = expand, batch_size
        self._words: dict[str, Tensor] = {}

    @torch.inference_mode()
    def regions(self, image: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Unit-length embeddings of the regions that have a pixel, and which have one.

        Shape:
            - image: :math:`(3, H, W)`, RGB in 0..255; masks: :math:`(Q, H, W)`; results: :math:`(V, E)`, :math:`(Q)`
        """
        crops = crop_regions(
            image,
            masks,
            size=self.spec.size,
            fill=self.fill,
            expand=self.expand,
            mean=self.mean,
            std=self.std,
        )
        parts = [self.tower(batch).pooled for batch in crops.pictures.split(self.batch_size)]
        pooled = torch.cat(parts) if parts else image.new_zeros(0, self.tower.embed_dim)
        return F.normalize(pooled, dim=-1), crops.valid

    def words(self, nouns: Sequence[str]) -> Tensor:
        """Unit-length embeddings of nouns (M, E); each noun is encoded once in the life of this object."""
        new = [noun for noun in nouns if noun not in self._words]
        if new:
            rows = self.bank.encode(Vocabulary.from_names(new)).embeddings
            self._words.update(zip(new, rows.unbind(), strict=True))
        return torch.stack([self._words[noun] for noun in nouns])

    def describe(self) -> dict[str, Any]:
        """What decides the embeddings, as plain data."""
        return {
            'clip': self.name,
            'text_weights': self.bank.tower.fingerprint()[:16],
            'image_weights': weights_digest(self.tower),
            'templates': list(self.bank.templates),
            'fill': [round(float(v), 4) for v in self.fill],
            'expand': self.expand,
        }


def weights_digest(module: nn.Module) -> str:
    """Hash of all values of a module's state dict."""
    total = hashlib.sha256()
    for name, value in module.state_dict().items():
        total.update(name.encode())
        total.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]

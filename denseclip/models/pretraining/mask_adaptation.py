"""CLIP learns what a picture with most of it painted over shows: fine-tuning, mask prompts, or coupled prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from denseclip.clip.loading import LoadedCLIP
from denseclip.clip.text.base import TextTower
from denseclip.clip.text_bank import TextBank
from denseclip.clip.towers import DenseReadOut, ImageTower
from denseclip.clip.towers.vit import ViTTower
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.core.lazy_weights import LazyWeights
from denseclip.core.values import has_values
from denseclip.weights.source import resolve

from ..functional.contrastive import contrastive_loss, gather_pairs
from ..functional.mask_prompts import encode_with_masks
from ..open_clip_parts import FOLDERS, OpenCLIPParts
from .contrastive import clamp_saved_scale, clamp_scale, group_ids
from .prompt_files import PROMPT_STD, read_mask_prompts

PARTS = ('image', 'prompts', 'both', 'coupled')
NEGATIVES = ('all', 'other_nouns')


@MODELS.register_module()
class MaskAdaptedCLIP(LazyWeights, BaseModel):
    """CLIP under adaptation to masked pictures. The text tower is locked.

    State-dict names under ``clip.`` are open_clip's; ``mask_embedding`` holds the mask prompts, ``deep_prompts`` the
    coupled ones. Batches come from ``PackRegion``. The loss is CLIP's, over the batches of all processes.

    Args:
        clip: Arguments of :class:`~denseclip.models.open_clip_parts.OpenCLIPParts`, or a loaded model.
        train: ``'image'``: the image tower, masks unused (OVSeg's fine-tuning). ``'prompts'``: mask prompts only, the
            tower frozen (mask prompt tuning). ``'both'``: the tower and the prompts together. ``'coupled'``: learned
            tokens in the first blocks of both towers, which are frozen (MaPLe); masks unused.
        prompt_depth: Number of layers with prompts; at the input and after the first ``prompt_depth - 1`` blocks.
        shared_prompts: One token for all positions of a layer instead of one for each.
        deep_prompts: With ``train='coupled'``: ``length`` and ``depth`` of
            :class:`~denseclip.clip.deep_prompts.CoupledPrompts`. Prompts that came with the CLIP are trained further.
        train_scale: Train CLIP's logit scale as well, as the authors' code does in all its runs.
        negatives: ``'all'``: every other sentence of the batch is a negative, equal ones too (the paper).
            ``'other_nouns'``: sentences about the same noun are none.
        vocabulary: Classes to tell apart in prediction; see :meth:`set_vocabulary`.
        templates: Sentences for class names.
        data_preprocessor: Of MMEngine; default: RGB with the mean and std of the weights.
        init_cfg: Of MMEngine.

    Raises:
        ValueError: If an option is unknown, or the image tower is no vision transformer of CLIP where masks are used.

    Source: Liang et al., "Open-Vocabulary Semantic Segmentation with Mask-adapted CLIP", 2023, sections 3.2 and 3.3;
    for coupled prompts Khattak et al., "MaPLe: Multi-modal Prompt Learning", 2023, section 3.2.
    """

    sourced_prefixes = ('clip.',)
    sourced_is_frozen = False
    has_source = False  # it is read at once

    def __init__(
        self,
        clip: Mapping[str, Any] | LoadedCLIP,
        train: str = 'image',
        prompt_depth: int = 3,
        shared_prompts: bool = False,
        deep_prompts: Mapping[str, int] | None = None,
        train_scale: bool = True,
        negatives: str = 'all',
        vocabulary: VocabularyLike | None = None,
        templates: str | Sequence[str] = 'vild',
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        for name, value, known in (('train', train, PARTS), ('negatives', negatives, NEGATIVES)):
            if value not in known:
                raise ValueError(f"MaskAdaptedCLIP: {name}='{value}' is unknown; choose from {', '.join(known)}")
        loaded, folder, fresh = loaded_clip(clip)
        normalisation = dict(type='ImgDataPreprocessor', **loaded.preprocess.as_255(), bgr_to_rgb=True)
        super().__init__(data_preprocessor or normalisation, init_cfg)
        self.loaded = [loaded]  # in a list: not a submodule, and deep copies of the state keep to `clip`
        self.clip = loaded.model
        self.deep_prompts = loaded.with_prompts(**(deep_prompts or {})) if train == 'coupled' else loaded.deep_prompts
        self._towers = [loaded.image_tower(DenseReadOut(dense=False, pooled=True))]
        self.train_part, self.negatives = train, negatives
        self.templates = templates
        with_masks = train in ('prompts', 'both')
        self.mask_embedding = self._prompts(prompt_depth, shared_prompts, folder) if with_masks else None
        self._choose_trainable(train_scale)
        self.vocabulary: Vocabulary | None = None
        self._sentences: dict[str, Tensor] = {}
        self._rows: Tensor | None = None
        self._has_weights = not fresh
        self.watch_loading()
        self.register_state_dict_pre_hook(clamp_saved_scale)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def _prompts(self, depth: int, shared: bool, folder: str | None) -> nn.Parameter:
        """Prompts of the folder that CLIP came from, or fresh ones."""
        tower = self.tower
        if not isinstance(tower, ViTTower):
            raise ValueError(f'mask prompts need a vision transformer of CLIP, not {type(tower).__name__}')
        grid = tower.visual.grid_size
        shape = (depth, 1 if shared else grid[0] * grid[1], tower.visual.conv1.out_channels)
        known = read_mask_prompts(resolve(folder)) if folder is not None else None
        if known is not None and known.shape != shape:
            raise ValueError(f"'{folder}' holds mask prompts of {tuple(known.shape)}, but the config asks for {shape}")
        return nn.Parameter(torch.randn(shape) * PROMPT_STD if known is None else known.float())

    def _choose_trainable(self, train_scale: bool) -> None:
        clip: Any = self.clip
        clip.requires_grad_(False)
        if self.deep_prompts is not None:
            self.deep_prompts.requires_grad_(self.train_part == 'coupled')
        if self.train_part in ('image', 'both'):
            clip.visual.requires_grad_(True)
        clip.logit_scale.requires_grad_(train_scale)

    @property
    def tower(self) -> ImageTower:
        """The image tower as trained, around the parameters under ``clip``."""
        return self._towers[0]

    @property
    def text_tower_beside(self) -> TextTower:
        """The text tower, around parameters under ``clip`` and no part of this module.

        Processes meet different new sentences, so it must run in each without the others: see ``engine.sharding``.
        """
        return self.loaded[0].text_tower()

    def weights_changed(self) -> None:
        """Other weights may bring another text tower."""
        self._sentences.clear()
        self._rows = None

    def set_vocabulary(self, vocabulary: VocabularyLike) -> None:
        """Choose the classes of :meth:`forward` with ``mode='predict'``.

        Args:
            vocabulary: Anything that :meth:`denseclip.clip.Vocabulary.of` takes.
        """
        self.vocabulary, self._rows = Vocabulary.of(vocabulary), None

    def class_rows(self) -> Tensor:
        """Unit-length embeddings of the classes (K, E).

        Raises:
            ValueError: If no vocabulary was set.
        """
        if self.vocabulary is None:
            raise ValueError('MaskAdaptedCLIP: call set_vocabulary (or set vocabulary= in the config) to classify')
        rows = None if self._text_learns else self._rows
        if rows is None:
            rows = TextBank(self.text_tower_beside, self.templates).encode(self.vocabulary).embeddings
            self._rows = rows if has_values(rows) else None
        return rows.to(next(self.parameters()).device)

    @property
    def _text_learns(self) -> bool:
        """Whether the embeddings of sentences change with every step."""
        return self.train_part == 'coupled' and self.training

    def train(self, mode: bool = True) -> MaskAdaptedCLIP:
        """Set the mode; what coupled prompts say changes in training, so it is not remembered."""
        super().train(mode)
        if self.train_part == 'coupled':
            self.weights_changed()
        return self

    def embed(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Unit-length embeddings of regions.

        Args:
            images: Normalised squares.
            masks: True inside the regions; without them, or without prompts, the tower is plain CLIP.

        Shape:
            - images: :math:`(N, 3, S, S)`; masks: :math:`(N, S, S)`; result: :math:`(N, E)`
        """
        if masks is None or self.mask_embedding is None:
            pooled = self.tower(images).pooled
        else:
            pooled = encode_with_masks(self.tower, images, masks, self.mask_embedding)
        return F.normalize(pooled, dim=-1)

    def sentences(self, titles: Sequence[str]) -> Tensor:
        """Unit-length embeddings of sentences (N, E); without coupled prompts each is encoded once.

        On a CPU each by itself: what its numbers are rounded to depends on the rows beside it, and a run that goes on
        from a checkpoint meets the sentences in other company than the run that was stopped.
        """
        if self._text_learns:
            tower: Any = self.text_tower_beside
            each = list(dict.fromkeys(titles))
            tokens = tower.tokenize(each, truncate=True).to(next(self.clip.parameters()).device)
            rows = F.normalize(tower.encode_tokens(tokens)[0], dim=-1)
            return rows[torch.tensor([each.index(title) for title in titles], device=rows.device)]
        parameter = next(self.clip.parameters())
        known = self._sentences if has_values(parameter) else {}
        new = [title for title in dict.fromkeys(titles) if title not in known]
        if new:
            together = 1 if parameter.device.type == 'cpu' else 256
            rows = F.normalize(self.text_tower_beside.encode(new, together, truncate=True), dim=-1)
            known.update(zip(new, rows.unbind(), strict=True))
        return torch.stack([known[title] for title in titles]).to(parameter.device)

    def forward(
        self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Run the model.

        Args:
            inputs: Normalised squares (N, 3, S, S).
            data_samples: Of ``PackRegion``.
            mode: ``'loss'``; ``'predict'``, which adds ``region_scores`` (K), the cosines with the classes, and
                ``pred_label``; or ``'tensor'``: embeddings.

        Raises:
            ValueError: Masks or sentences are needed and there are none.
        """
        masks = self._masks(data_samples)
        if mode == 'tensor':
            return self.embed(inputs, masks)
        if not data_samples:
            raise ValueError(f"mode='{mode}' needs data samples: end the pipeline with PackRegion")
        images = self.embed(inputs, masks)
        if mode == 'predict':
            scores = images @ self.class_rows().to(images.dtype).T
            for sample, row in zip(data_samples, scores, strict=True):
                sample.set_data(dict(region_scores=row, pred_label=row.argmax()))
            return list(data_samples)
        groups = group_ids([sample.caption_group for sample in data_samples], inputs.device)
        return self.loss(images, self.sentences([sample.caption for sample in data_samples]), groups)

    def _masks(self, data_samples: Sequence[BaseDataElement] | None) -> Tensor | None:
        if self.mask_embedding is None or not data_samples:
            return None
        if not all('region_mask' in sample for sample in data_samples):
            raise ValueError('mask prompts need masks: the pipeline must make region_mask (CutRegion or RecoverMask)')
        return torch.stack([sample.region_mask for sample in data_samples])

    def loss(self, images: Tensor, texts: Tensor, groups: Tensor) -> dict[str, Tensor]:
        """CLIP's loss of embeddings (N, E) of regions and their sentences, over all processes.

        Args:
            images: Unit-length.
            texts: Unit-length.
            groups: Integers (N), equal for equal nouns.
        """
        clip: Any = self.clip
        clamp_scale(clip)
        images, texts, groups = gather_pairs(images, texts.to(images.dtype), groups)
        scale = clip.logit_scale.exp()
        loss = contrastive_loss(images, texts, scale, groups if self.negatives == 'other_nouns' else None)
        with torch.no_grad():
            hits = (images @ texts.T).argmax(dim=1)
            accuracy = (groups[hits] == groups).float().mean()
        return {'loss': loss, 'accuracy': accuracy, 'scale': scale.detach()}


def loaded_clip(clip: Mapping[str, Any] | LoadedCLIP) -> tuple[LoadedCLIP, str | None, bool]:
    """The model, the folder it came from, if it was one, and whether its weights are fresh."""
    if isinstance(clip, LoadedCLIP):
        return clip, None, False
    parts = OpenCLIPParts(**clip)
    parts.load()
    return parts.clip, parts.model if parts.model.startswith(FOLDERS) else None, not parts.has_weights

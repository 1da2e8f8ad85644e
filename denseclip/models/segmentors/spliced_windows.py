"""Windows of a picture put together before they are labelled, and averaged over the whole picture (Trident)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from denseclip.clip.attention import Affinity, Guide
from denseclip.clip.towers.spliced import check_spliceable, embeddings_of, splice, whole_patches, window_planes
from denseclip.core.placement import Placement, resize, size_of, slide_boxes, upper_left, whole_multiples
from denseclip.models.builder import build_module
from denseclip.models.functional.affinity import mean_cosine, similarity_logits
from denseclip.models.functional.pictures import denormalize_pictures
from denseclip.models.prompted_sam import SAMView
from denseclip.models.providers import DINOAffinity, SAMAggregation
from denseclip.structures.word_scores import WordScores

from .score_maps import ScoreMaps


class SplicesWindows:
    """Mix-in for models with Segment Anything over the whole picture.

    Attributes:
        sam: What it is asked; None: windows are labelled one by one.
    """

    sam: SAMAggregation | None
    affinity: Any
    tower: Any
    test_cfg: Any
    _joined: Tensor | None
    _seen: Any
    _view: SAMView | None = None
    """The picture that is labelled at present."""

    def accept_sam(self, given: Mapping[str, Any] | nn.Module | None, **others: Any) -> SAMAggregation | None:
        """What ``sam=`` means.

        Args:
            given: A module or its config.
            others: Arguments that do not go with it.

        Raises:
            ValueError: If one of them is given, or the affinity cannot be taken over all windows.
        """
        if given is None:
            return None
        if asked := [name for name, value in others.items() if value is not None]:
            raise ValueError(f'sam= labels the picture as one map, without {" and ".join(asked)}: leave them out.')
        check_spliceable(self.tower)
        if type(self.affinity) is not DINOAffinity or self.affinity.takes_regions:
            raise ValueError('sam= puts windows together that look by a DINOAffinity without scope: give that.')
        return build_module(given)

    def spliced(self, image: Tensor, placement: Placement) -> Tensor:
        """Pixel embeddings of a picture on SAM's grid.

        Args:
            image: The input, (3, H, W).
            placement: Where the picture lies in it.

        Returns:
            (1, E, h, w).
        """
        assert self.sam is not None
        self.need_weights()  # type: ignore[attr-defined]
        picture = placement.cut(image)
        planes = self._windows_as_one(picture[None])
        size = placement.result_size(image)
        planes, self._view = self.sam.aggregate(self._colours(picture), size, planes)
        return embeddings_of(self.tower, planes[None])

    def _colours(self, picture: Tensor) -> Tensor:
        """RGB in 0..255 of a normalised picture (3, H, W)."""
        return denormalize_pictures(picture[None], self.tower.preprocess)[0].clamp(0, 1) * 255

    def _windows_as_one(self, picture: Tensor) -> Tensor:
        """Planes (C, h, w) of a picture (1, 3, H, W), stretched to whole patches, before the final norm."""
        patch, slide = self.tower.multiple, self.test_cfg.mode == 'slide'
        crop, stride = (tuple(self.test_cfg[name]) for name in ('crop_size', 'stride')) if slide else ((0, 0), patch)
        crop, stride = (whole_multiples(sides, patch) for sides in (crop, stride))  # put together patch by patch
        size = whole_patches(size_of(picture), patch, crop)
        fitted = resize(picture, size)
        boxes = slide_boxes(size, crop, stride) if slide else [upper_left(size)]
        step, spec = self.test_cfg.get('window_batch', 1), self.tower.preprocess

        def batches() -> Iterator[Tensor]:
            for start in range(0, len(boxes), step):
                some = boxes[start : start + step]
                yield torch.cat([fitted[:, :, top:bottom, left:right] for top, bottom, left, right in some])

        features = torch.cat([self.affinity.features(windows, spec) for windows in batches()])
        mean, found = mean_cosine(features), []
        for windows, own in zip(batches(), features.split(step), strict=True):
            out = self.tower.before_last(windows)
            logits = similarity_logits(own, self.affinity.beta, self.affinity.gamma, mean)
            guide = Guide(affinity=Affinity(logits, size_of(own)))
            found += list(window_planes(self.tower, out.tokens, out.grid, guide))
        return splice(found, boxes, size, patch)

    def _spliced_results(
        self, inputs: Tensor, samples: Sequence[SegDataSample], scored: bool
    ) -> Iterator[tuple[Tensor, Tensor | None, WordScores | None]]:
        """See ``LabelsPatches._results``."""
        for image, sample in zip(inputs, samples, strict=True):
            placement = Placement.of(sample.metainfo, size_of(inputs))
            out = placement.result_size(image)
            self._seen = []
            try:
                self._joined = self.spliced(image, placement)
                with self.knowing(image[None]):  # type: ignore[attr-defined]
                    rows, words = self.head_scores(image[None])  # type: ignore[attr-defined]
                seen, maps = self._seen, ScoreMaps(list(rows), None)
                others = None if words is None else words.split()
                # Scores go to the result's size in one step: what is left of the input is the picture alone.
                whole = Placement(padded=out, out=out, flip=placement.flip)
                fitted = resize(placement.cut(image), out)
                yield self._wanted_results(  # type: ignore[attr-defined]
                    maps, others, seen, whole, fitted, sample, scored, None
                )
            finally:
                self._seen = self._joined = self._view = None

    @property
    def _sam_refines(self) -> bool:
        return self.sam is not None and self.sam.refine is not None

    def _by_masks(self, labels: Tensor, scores: Tensor | None, image: Tensor, placement: Placement) -> Tensor:
        """Labels of a picture (3, H, W) of the result's size after SAM's masks; both were turned back already."""
        assert self.sam is not None and scores is not None
        view = self._view if placement.flip is None else None
        if view is None:  # the picture was looked at in parts, or mirrored
            view = self.sam.sam.see(self._colours(placement.turn_back(image)), size_of(labels))
        return self.sam.refined(labels, scores, view)

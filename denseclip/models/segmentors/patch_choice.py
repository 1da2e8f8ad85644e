"""Classes of a picture chosen from what the windows of a dense CLIP say, before anything is resized."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.clip.text_bank import TextEmbeddings
from denseclip.models.functional.class_purification import (
    crop_boxes,
    map_agreement,
    rival_groups,
    spread_maps,
    transition,
)
from denseclip.models.functional.class_scores import grid_crops, mixed_scores, place_scores, resized_crops
from denseclip.structures.active_vocabulary import ActiveVocabulary, ClassChoice

from .score_maps import ScoreMaps


@dataclass(frozen=True)
class Seen:
    """What the image tower said of a window besides its dense embeddings.

    Attributes:
        pooled: Image embedding; None: not asked for.
        weights: Attention weights between patches, the mean of heads and of all blocks but the last; None likewise.

    Shape:
        - pooled: :math:`(E,)`; weights: :math:`(hw, hw)`
    """

    pooled: Tensor | None = None
    weights: Tensor | None = None


@dataclass(frozen=True)
class View:
    """A window.

    Attributes:
        logits: Of the classes, in units of a softmax.
        inside: Patches in the picture.
        seen: What the tower said.
        image: Its pixels, normalised.

    Shape:
        - logits: :math:`(K, h, w)`; inside: :math:`(h, w)`; image: :math:`(3, H, W)`
    """

    logits: Tensor
    inside: Tensor
    seen: Seen
    image: Tensor


@dataclass(frozen=True)
class Chooser:
    """Chooses the classes of one picture.

    Attributes:
        active: How.
        text: Embeddings of the vocabulary.
        scale: Factor of cosines.
        embed: Image embeddings (n, E) of crops (n, 3, s, s).
        rows_per_name: Rows of scores that have one for each name; None: there is one for each class.
        always: A class that is always kept, the background; None: there is none.
    """

    active: ActiveVocabulary
    text: TextEmbeddings
    scale: float
    embed: Callable[[Tensor], Tensor]
    rows_per_name: int | None = None
    always: int | None = None

    def choose(self, views: Sequence[View], maps: ScoreMaps, picture: Tensor) -> tuple[ClassChoice, ScoreMaps]:
        """The choice, and the maps that labels are to be taken from.

        Args:
            views: The picture's windows.
            maps: Scores of their patches.
            picture: The picture without padding, (3, H, W).
        """
        if self.active.scorer == 'agreement':
            return self._by_agreement(views, maps)
        score = _SCORES[self.active.scorer]
        if self.active.per == 'picture' or len(views) == 1:
            scores = score(self, views, picture)
            return self._choice(self.active.keep(scores), scores), maps
        each = torch.stack([score(self, [view], view.image) for view in views])
        kept = torch.stack([self.active.keep(row) for row in each])
        return self._per_window(kept, each, maps, views)

    def class_logits(self, pooled: Tensor) -> Tensor:
        """Logits (n, K) of image embeddings (n, E)."""
        unit = F.normalize(pooled.float(), dim=-1)
        return self.text.class_scores(self.scale * unit @ self.text.embeddings.float().T)

    def by_picture(self, views: Sequence[View], picture: Tensor) -> Tensor:
        """The best score that any window has as a whole."""
        del picture
        pooled = [view.seen.pooled for view in views if view.seen.pooled is not None]
        return self.class_logits(torch.stack(pooled)).amax(dim=0)

    def by_places(self, views: Sequence[View], picture: Tensor) -> Tensor:
        """The best score over a few patches."""
        del picture
        return torch.stack([place_scores(view.logits.float(), view.inside) for view in views]).amax(dim=0)

    def by_both(self, views: Sequence[View], picture: Tensor) -> Tensor:
        """Both together."""
        return mixed_scores(self.by_picture(views, picture), self.by_places(views, picture))

    def by_crops(self, views: Sequence[View], picture: Tensor) -> Tensor:
        """Mean probability over crops."""
        del views
        return self.class_logits(self.embed(grid_crops(picture, self.active.side))).softmax(dim=1).mean(dim=0)

    def _choice(self, kept: Tensor, scores: Tensor) -> ClassChoice:
        return ClassChoice(self.active.scorer, kept, scores.float()).with_class(self.always)

    def _per_window(
        self, kept: Tensor, scores: Tensor, maps: ScoreMaps, views: Sequence[View]
    ) -> tuple[ClassChoice, ScoreMaps]:
        """Classes that a window has not kept get its lowest score; those that no window has are left out.

        Windows of padding alone have no say, and stay as they are.
        """
        shows = torch.stack([view.inside.any() for view in views])[:, None]
        kept, scores = kept & shows, scores.masked_fill(~shows, float('-inf'))
        if self.always is not None:
            kept[:, self.always] = True
        rows = [self._rows(one, len(plane)) for one, plane in zip(kept | ~shows, maps.maps, strict=True)]
        masked = [
            torch.where(row[:, None, None], plane, plane.amin()) for plane, row in zip(maps.maps, rows, strict=True)
        ]
        best, any_window = scores.amax(dim=0), kept.any(dim=0)
        any_window = any_window | (F.one_hot(best.argmax(), len(best)).bool() & ~any_window.any())
        return self._choice(any_window, best), replace(maps, maps=masked)

    def _rows(self, classes: Tensor, rows: int) -> Tensor:
        found = classes[self.text.class_index] if rows == self.rows_per_name else classes
        return F.pad(found, (0, rows - len(found)), value=True)

    # --- FreeCP -------------------------------------------------------------------------------------------------

    def _by_agreement(self, views: Sequence[View], maps: ScoreMaps) -> tuple[ClassChoice, ScoreMaps]:
        before = [view.logits.float().softmax(dim=0) for view in views]
        after = [self._spread(one, view) for one, view in zip(before, views, strict=True)]
        scores = torch.stack([map_agreement(*pair) for pair in zip(before, after, strict=True)])
        if self.active.per == 'picture':
            best = scores.amax(dim=0)
            kept = self.active.keep(best)
            if self.active.overlap is not None:
                survivors = [self.without_rivals(kept, *pair) for pair in zip(after, views, strict=True)]
                kept = torch.stack(survivors).any(dim=0)
            if self.active.relabel:
                maps = replace(maps, maps=after)
            return self._choice(kept, best), maps
        rows = [self.active.keep(one, may_be_none=True) for one in scores]
        if self.active.overlap is not None:
            rows = [self.without_rivals(*some) for some in zip(rows, after, views, strict=True)]
        maps = replace(maps, maps=after) if self.active.relabel else maps
        return self._per_window(torch.stack(rows), scores, maps, views)

    @staticmethod
    def _spread(probabilities: Tensor, view: View) -> Tensor:
        assert view.seen.weights is not None
        low, high = probabilities.amin(), probabilities.amax()
        scaled = (probabilities - low) / (high - low).clamp_min(torch.finfo(probabilities.dtype).tiny)
        return spread_maps(scaled, transition(view.seen.weights))

    def without_rivals(self, kept: Tensor, after: Tensor, view: View) -> Tensor:
        """Kept classes (K,) without those that lose against rivals on crops of a window.

        Args:
            kept: Classes so far, bool.
            after: Their spread maps.
            view: The window.

        Shape:
            - kept: :math:`(K,)`; after: :math:`(K, h, w)`
        """
        assert self.active.overlap is not None
        numbers = kept.nonzero()[:, 0].tolist()
        left = torch.zeros_like(kept)
        patch = [pixels // patches for pixels, patches in zip(view.image.shape[-2:], after.shape[-2:], strict=True)]
        for group in rival_groups(after[numbers], self.active.overlap):
            some = [numbers[place] for place in group]
            boxes, empty = crop_boxes(after[some], patch) if len(some) > 1 else ([], 1)
            if empty:
                left[some] = True
            if not boxes:
                continue
            crops = [view.image[:, top:bottom, start:stop] for top, bottom, start, stop in boxes]
            winners = self.class_logits(self.embed(resized_crops(crops, self.active.side)))[:, some].argmax(dim=1)
            left[[some[place] for place in winners.tolist()]] = True
        return left


_SCORES: Mapping[str, Callable[[Chooser, Sequence[View], Tensor], Tensor]] = MappingProxyType(
    {
        'picture': Chooser.by_picture,
        'dense': Chooser.by_places,
        'mixed': Chooser.by_both,
        'crops': Chooser.by_crops,
    }
)

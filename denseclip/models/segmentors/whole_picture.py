"""What windows of a picture know of the whole of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.clip.text_bank import TextEmbeddings
from denseclip.clip.towers import TowerOutput, ViTTower
from denseclip.clip.towers.joined import Anchors, JoinedWindows, check_joinable
from denseclip.core.placement import Box, Placement, size_of, slide_boxes, upper_left
from denseclip.models.functional.presence import Presence
from denseclip.models.functional.window_seams import window_disagreement

from .label_inference import LabelMapInference
from .score_maps import ScoreMaps
from .word_scoring import Comparison


@dataclass(frozen=True)
class WindowJoin:
    """The last block over the tokens of all windows; towers run window by window up to it.

    Attributes:
        nearest: A window looks at so many windows, itself among them, at most: those whose centres are nearest. All of
            them in every published protocol; it bounds what large pictures cost.
        anchors: Settings of :class:`denseclip.clip.towers.joined.Anchors`, for ``attention='external'``.
    """

    nearest: int = 64
    anchors: Anchors = Anchors()

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> WindowJoin:
        """From ``nearest`` and settings of the anchors, side by side.

        Raises:
            ValueError: If one is unknown or makes no sense.
        """
        known = {'nearest', *(field.name for field in fields(Anchors))}
        if unknown := set(settings) - known:
            raise ValueError(f'join: {", ".join(sorted(unknown))} is unknown; it takes {", ".join(sorted(known))}.')
        rest = {name: value for name, value in settings.items() if name != 'nearest'}
        join = cls(settings.get('nearest', cls.nearest), Anchors(**rest))
        if join.nearest < 1 or join.anchors.steps < 1:
            raise ValueError('join: nearest and steps must be 1 or more.')
        return join

    def seen(self, boxes: Sequence[Box]) -> list[list[int]]:
        """For each window, those that it looks at, in their order."""
        centres = [(top + bottom, left + right) for top, bottom, left, right in boxes]
        every = range(len(boxes))
        return [
            sorted(
                sorted(every, key=lambda n: ((centres[n][0] - y) ** 2 + (centres[n][1] - x) ** 2, n))[: self.nearest]
            )
            for y, x in centres
        ]


class WholePictureInference(LabelMapInference):
    """Mix-in: sliding windows that know of each other (``join``), or of the picture's embedding (``post.presence``).

    ``test_cfg.seams=True`` counts, in the meta information ``window_seams``, the pixels where two windows that overlap
    say something else, and how many were compared; see :class:`denseclip.evaluation.WindowSeams`.
    """

    post: Any
    tower: Any
    affinity: Any
    join: WindowJoin | None
    _guided: bool
    _of_picture: Tensor | None = None
    """Embedding (1, E) of the picture whose windows are run."""
    _joined: Tensor | None = None
    """Pixel embeddings of the windows that :meth:`read` is asked for next, whatever pixels it is given."""
    _groups: tuple[Tensor, Presence, Tensor] | None = None
    """Embeddings of names, how they were grouped, and their groups."""

    def accept_join(self, settings: Mapping[str, Any] | None) -> WindowJoin | None:
        """How windows are joined; refused where the tower cannot."""
        if settings is None:
            return None
        check_joinable(self.tower)
        return WindowJoin.of(settings)

    def read(self, images: Tensor) -> TowerOutput:
        """Run the image tower on pictures padded to whole patches."""
        if self._joined is not None:
            return self.noted(TowerOutput(dense=self._joined))
        self.need_weights()  # type: ignore[attr-defined]
        padded = self.pad(images)  # type: ignore[attr-defined]
        if self.join is None and self.sam is None:  # type: ignore[attr-defined]
            return self.noted(self.tower(padded, self.guide(padded)))  # type: ignore[attr-defined]
        dense = torch.cat([self._alone(image) for image in padded])
        return self.noted(TowerOutput(dense=dense))

    def _alone(self, image: Tensor) -> Tensor:
        """Pixel embeddings (1, E, h, w) of a padded picture that is its only window."""
        if self.join is None:
            return self.spliced(image, Placement())  # type: ignore[attr-defined]
        return self._join(image[None], [upper_left(size_of(image))]).dense(0, [0])

    def noted(self, out: TowerOutput) -> TowerOutput:
        """The same output, after a subclass has kept what it needs of it."""
        return out

    def _join(self, picture: Tensor, boxes: Sequence[Box]) -> JoinedWindows:
        """Tokens of all windows of a picture (1, 3, H, W) before the last block."""
        if getattr(self.affinity, 'takes_regions', False):
            raise ValueError('join looks over the borders of regions: set affinity.scope=None, or leave join out.')
        tokens, features, grid = [], [], (0, 0)
        queue = iter(boxes)
        while group := list(islice(queue, self.test_cfg.get('window_batch', 1))):
            cut = torch.cat([picture[:, :, box[0] : box[1], box[2] : box[3]] for box in group])
            windows = self.pad(cut)  # type: ignore[attr-defined]
            out = self.tower.before_last(windows)
            tokens.append(out.tokens)
            grid = out.grid
            if self._guided:
                features.append(self.affinity.features(windows, self.tower.preprocess))
        assert self.join is not None
        patch = self.tower.multiple
        places = [(box[0] / patch[0], box[2] / patch[1]) for box in boxes]
        both = torch.cat(features) if features else None
        return JoinedWindows(self.tower, torch.cat(tokens), grid, places, both, self.join.anchors)

    def _windows(self, inputs: Tensor) -> tuple[list[Box], Iterator[tuple[Tensor, Comparison | None]]]:
        """See :class:`LabelMapInference`."""
        if self.join is None:
            return super()._windows(inputs)
        boxes = slide_boxes(size_of(inputs), self.test_cfg['crop_size'], self.test_cfg['stride'])
        seen = self.join.seen(boxes)

        def run() -> Iterator[tuple[Tensor, Comparison | None]]:
            self.need_weights()  # type: ignore[attr-defined]
            pictures = [self._join(inputs[n : n + 1], boxes) for n in range(len(inputs))]
            queue = iter(range(len(boxes)))
            while group := list(islice(queue, self.test_cfg.get('window_batch', 1))):
                self._joined = torch.cat([picture.dense(n, seen[n]) for n in group for picture in pictures])
                try:
                    found = self.head_scores(inputs[:1])
                finally:
                    self._joined = None
                yield found

        return boxes, run()

    def one_by_one(self, inputs: Tensor, boxes: Sequence[Box]) -> Iterator[Tensor]:
        """See :class:`LabelMapInference`."""
        if self.join is None or len(boxes) == 1:
            yield from super().one_by_one(inputs, boxes)
            return
        picture, seen = self._join(inputs, boxes), self.join.seen(boxes)
        try:
            for n, window in enumerate(super().one_by_one(inputs, boxes)):
                self._joined = picture.dense(n, seen[n])
                yield window
        finally:
            self._joined = None

    def _slide(self, inputs: Tensor, sample: SegDataSample) -> tuple[ScoreMaps, list[Comparison] | None]:
        """See :class:`LabelMapInference`."""
        found = super()._slide(inputs, sample)
        if self.test_cfg.get('seams', False):
            sample.set_metainfo({'window_seams': window_disagreement(found[0].maps, found[0].boxes or [])})
        return found

    @property
    def _needs_all_windows(self) -> bool:
        """See :class:`LabelMapInference`: joined windows look at each other, and seams are between all."""
        return super()._needs_all_windows or self.join is not None or bool(self.test_cfg.get('seams', False))

    def name_groups(self, text: TextEmbeddings) -> Tensor | None:
        """Groups of the names for ``post.presence``, made anew when other words or settings come; None: no need."""
        how, names = self.post.presence_settings, text.embeddings
        if how is None:
            return None
        if self._groups is None or self._groups[0] is not names or self._groups[1] != how:
            self._groups = names, how, how.groups(names)
        return self._groups[2]

    def check_presence(self) -> None:
        """Refuse ``post.presence`` where the tower cannot tell what the picture as a whole shows.

        Raises:
            ValueError: With what to take.
        """
        if self.post.presence is not None and not isinstance(self.tower, ViTTower):
            raise ValueError(
                f"post.presence is for CLIP's own transformers, not for {type(self.tower).__name__}: take another "
                'model, or set post.presence=None.'
            )

    @contextmanager
    def knowing(self, inputs: Tensor) -> Iterator[None]:
        """Know the picture as a whole while its windows are read.

        Args:
            inputs: The padded input; one picture, if windows slide over it.
        """
        if self._needs_picture:
            self.need_weights()  # type: ignore[attr-defined]
            self._of_picture = self.tower.pooled_of_tokens(self.tower.embed(inputs)[0])
        try:
            yield
        finally:
            self._of_picture = None

    @property
    def _needs_picture(self) -> bool:
        """Whether windows need what the picture as a whole shows."""
        presence = self.post.presence_settings
        return presence is not None and presence.of == 'picture' and self.test_cfg.mode == 'slide'

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """See :class:`LabelMapInference`.

        Raises:
            ValueError: If windows need the whole picture and nobody shows it.
        """
        if self._needs_picture and self._of_picture is None:
            raise ValueError(
                f"{type(self).__name__} with post.presence.of='picture' needs the whole picture beside its windows: "
                'call predict().'
            )
        return super().slide_inference(inputs, batch_img_metas)

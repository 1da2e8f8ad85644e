"""An exported anomaly model: pictures and the name of an object in, maps and scores out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.apis.anomaly_predictor import AnomalyPredictor, Subject, check_name
from denseclip.apis.errors import UserError
from denseclip.apis.images import Picture
from denseclip.clip.anomaly_prompts import StatePrompts, prompt_set, state_prompts
from denseclip.core.tiles import tile_boxes
from denseclip.runtime.graphs import TextSide, session, unit_rows
from denseclip.runtime.manifest import Manifest
from denseclip.runtime.pictures import prepare
from denseclip.runtime.resizing import Size, bilinear_matrix

_REMEMBERED = 16


class RuntimeAnomalyModel(AnomalyPredictor):
    """An exported anomaly model. Threads may share one: an object given with a call belongs to that call.

    Args:
        folder: See :func:`denseclip.runtime.load`.
        object_name: What pictures show; None: what the model came with.
        threads: See there.
        manifest: What lies in the folder, where that has been read.
        trust: See there.
        precision: See there.

    Attributes:
        folder: Where the export lies.
        manifest: What the export says of itself.

    Raises:
        UserError: If the folder holds no exported anomaly model.
    """

    def __init__(
        self,
        folder: str | Path,
        object_name: str | None = None,
        threads: int | None = None,
        manifest: Manifest | None = None,
        trust: bool = False,
        precision: str = 'fp32',
    ) -> None:
        if not isinstance(object_name, str | None):
            raise UserError(
                f'an anomaly model takes one object in words, such as "metal nut", not {object_name!r:.60}.'
            )
        self.folder = folder = Path(folder)
        self.manifest = Manifest.read(folder) if manifest is None else manifest
        self.manifest.check_gives(folder, 'states')
        words, states = self.manifest.words, self.manifest.rule
        if words is None:
            raise UserError(f"'{folder}' has no words, which {self.manifest.model} needs; export the model again.")
        files = {part: folder / name for part, name in self.manifest.files.items()}
        self.model = session(files['image'], threads, trust, precision)
        self._text = TextSide(words, files['text'], files['tokenizer'], threads, trust)
        self._precision = precision
        self._states, self._prompts = states, prompt_set(states.prompts)
        self._subject: Subject = (states.object, states.domain, states.defects)
        self._known: OrderedDict[StatePrompts, np.ndarray] = OrderedDict()
        self._turn = threading.Lock()
        if object_name is not None:
            self.set_object(object_name)

    @property
    def precision(self) -> str:
        """What the graph of pictures computes in; that of words is in float32."""
        return self._precision

    def set_object(self, name: str, domain: str | None = None, defects: str | Sequence[str] | None = None) -> Any:
        """See :meth:`AnomalyPredictor.set_object`."""
        prompts = self._prompts_of((name, domain, defects))
        self._subject = (name, domain, defects)
        return prompts

    def _prompts_of(self, subject: Subject) -> StatePrompts:
        return state_prompts(check_name(subject), self._prompts, domain=subject[1], defects=subject[2])

    def states(self, subject: Subject) -> np.ndarray:
        """The good and the bad state of a subject as unit vectors, (2, E) float32.

        Raises:
            UserError: If a sentence is too long.
            ValueError: If the domain is unknown or a word is empty.
        """
        prompts = self._prompts_of(subject)
        with self._turn:
            if prompts not in self._known:
                rows = self._text.sentences((*prompts.normal, *prompts.abnormal))
                rows = unit_rows(rows) if prompts.unit_length_before_mean else rows
                parts = np.split(rows, [len(prompts.normal)])
                self._known[prompts] = unit_rows(np.stack([part.mean(axis=0) for part in parts])).astype(np.float32)
            self._known.move_to_end(prompts)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return self._known[prompts]

    def _score(self, pictures: Sequence[Picture], subject: Subject) -> list[tuple[np.ndarray, float]]:
        text = self.states(subject)
        return [self._look(picture.rgb, text) for picture in pictures]

    def _look(self, rgb: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, float]:
        """Map in the picture's size and score of a picture (H, W, 3)."""
        inputs, _ = prepare(rgb, self.manifest.picture)
        size, tile = (inputs.shape[2], inputs.shape[3]), self._states.tile
        boxes = [(0, 0)] if tile is None else tile_boxes(size, tile)
        down, across = size if tile is None else (tile, tile)
        found = [  # one after the other: AnoVL makes 22 views of each
            self.model.run(
                ['map', 'score'],
                {'images': np.ascontiguousarray(inputs[..., top : top + down, left : left + across]), 'text': text},
            )
            for top, left in boxes
        ]
        whole = stitch_tiles([maps[0, 0] for maps, _ in found], boxes, size)
        score = np.mean([scores[0] for _, scores in found])
        return _resized(whole, (rgb.shape[0], rgb.shape[1])), float(score)


def stitch_tiles(maps: Sequence[np.ndarray], boxes: Sequence[tuple[int, int]], size: Size) -> np.ndarray:
    """Maps (h, w) of tiles to that of the picture, the mean where tiles overlap."""
    total, count = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.float32)
    for tile, (top, left) in zip(maps, boxes, strict=True):
        window = slice(top, top + tile.shape[0]), slice(left, left + tile.shape[1])
        total[window] += tile
        count[window] += 1
    return total / count


def _resized(scores: np.ndarray, size: Size) -> np.ndarray:
    """Scores (h, w) of another size, float32."""
    if scores.shape == size:
        return scores
    down, across = (bilinear_matrix(a, b).astype(np.float32) for a, b in zip(scores.shape, size, strict=True))
    return down @ scores @ across.T

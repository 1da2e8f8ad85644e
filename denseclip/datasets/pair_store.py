"""Mask-noun pairs on disk: files of many pictures that appear whole, and a card that says what they are.

::

    OUT/
    ├── pairs.json             the card: settings, number of pictures, pictures per file
    └── pairs/000000.jsonl     one line a pair; file k holds the pairs of pictures k * chunk ... (k + 1) * chunk - 1

Masks are COCO's compressed run-length codes of the picture at its own size: exact, small, and independent of what a
training later cuts out or paints over. Which process writes which file does not matter, so a run that was killed goes
on with any number of processes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.files.atomic import commit, partial_name
from denseclip.structures.run_lengths import pixels, run_lengths

CARD = 'pairs.json'
FOLDER = 'pairs'
FORMAT = 1


class PairStoreError(ValueError):
    """A folder of pairs that is incomplete, damaged, or made with other settings."""


@dataclass(frozen=True)
class MaskNounPair:
    """A region of a picture and what it shows.

    Attributes:
        image: Path of the picture, below the folder that the card or the caller names.
        size: Height and width of the picture.
        counts: Compressed run-length code of the mask.
        box: Left, top, right, bottom of the mask; the last two exclusive.
        noun: The word.
        title: The sentence that training pairs the region with.
        score: How well CLIP thinks they fit, a cosine; 1 for ground truth.
    """

    image: str
    size: tuple[int, int]
    counts: str
    box: tuple[int, int, int, int]
    noun: str
    title: str
    score: float = 1.0

    @classmethod
    def of(cls, image: str, mask: np.ndarray, noun: str, title: str, score: float = 1.0) -> MaskNounPair:
        """From a mask.

        Args:
            image: Path of the picture.
            mask: bool (H, W), with at least one pixel.
            noun: The word.
            title: The sentence.
            score: The cosine.
        """
        return cls(
            image, (mask.shape[0], mask.shape[1]), run_lengths(mask)['counts'], mask_box(mask), noun, title, score
        )

    def mask(self) -> np.ndarray:
        """The mask, bool (H, W)."""
        return pixels({'size': self.size, 'counts': self.counts})

    def line(self) -> str:
        """The pair as a line of JSON."""
        fields = {**self.__dict__, 'size': list(self.size), 'box': list(self.box), 'score': round(self.score, 6)}
        return json.dumps(fields, ensure_ascii=False)


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom (exclusive) of a mask with at least one pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


class PairStore:
    """A folder of pairs.

    Args:
        root: The folder.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    @property
    def card(self) -> dict[str, Any]:
        """What the folder says about itself.

        Raises:
            PairStoreError: If there is no card or it cannot be read.
        """
        path = self.root / CARD
        try:
            card = json.loads(path.read_text(encoding='utf-8'))
            if card['format'] != FORMAT:
                raise PairStoreError(f"'{path}' has format {card['format']}, this version reads {FORMAT}: mine again")
            return dict(card)
        except FileNotFoundError:
            raise PairStoreError(f"'{self.root}' holds no {CARD}: it is no folder of mask-noun pairs") from None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise PairStoreError(f"'{path}' is damaged ({error!r})") from error

    def begin(self, settings: Mapping[str, Any], num_pictures: int, chunk_size: int) -> None:
        """Start a folder, or go on with one of the same settings; every process may call this.

        Args:
            settings: What decides the pairs, as plain data.
            num_pictures: Of the whole set.
            chunk_size: Pictures per file.

        Raises:
            PairStoreError: If the folder was begun with other settings.
        """
        card = {'format': FORMAT, 'num_pictures': num_pictures, 'chunk_size': chunk_size, **settings}
        card = json.loads(json.dumps(card))
        if (self.root / CARD).exists():
            earlier = self.card
            other = [key for key in sorted({*card, *earlier}) if card.get(key) != earlier.get(key)]
            if other:
                raise PairStoreError(
                    f"'{self.root}' was begun with other settings ({', '.join(other)}); choose a new folder, or repeat "
                    'the command that began it'
                )
            return
        strangers = [p.name for p in self.root.iterdir() if not p.name.startswith('.')] if self.root.is_dir() else []
        if not set(strangers) <= {FOLDER, CARD}:  # another process may have written these two just now
            raise PairStoreError(f"'{self.root}' holds other files ({', '.join(strangers[:3])}); choose a new folder")
        (self.root / FOLDER).mkdir(parents=True, exist_ok=True)
        _write(self.root / CARD, json.dumps(card, indent=1) + '\n')

    @property
    def num_chunks(self) -> int:
        """Number of files of the complete folder."""
        card = self.card
        return -(-card['num_pictures'] // card['chunk_size'])

    def path(self, chunk: int) -> Path:
        """File of a chunk."""
        return self.root / FOLDER / f'{chunk:06d}.jsonl'

    def missing(self) -> list[int]:
        """Chunks that are not written yet."""
        return [chunk for chunk in range(self.num_chunks) if not self.path(chunk).is_file()]

    def write(self, chunk: int, pairs: Iterable[MaskNounPair]) -> None:
        """Write all pairs of a chunk; the file appears complete or not at all."""
        _write(self.path(chunk), ''.join(f'{pair.line()}\n' for pair in pairs))

    def read(self) -> Iterator[MaskNounPair]:
        """All pairs, in the order of the pictures.

        Raises:
            PairStoreError: If mining has not finished, or a file is damaged.
        """
        missing = self.missing()
        if missing:
            raise PairStoreError(
                f"'{self.root}' is incomplete: {len(missing)} of {self.num_chunks} files are missing (first: "
                f'{self.path(missing[0]).name}). Run the command that began it again; it goes on where it stopped'
            )
        for chunk in range(self.num_chunks):
            yield from self._read_chunk(self.path(chunk))

    def _read_chunk(self, path: Path) -> Iterator[MaskNounPair]:
        # Not splitlines: it also breaks at characters that JSON leaves as they are, such as U+2028.
        with path.open(encoding='utf-8', newline='\n') as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    fields = json.loads(line)
                    fields.update(size=tuple(fields['size']), box=tuple(fields['box']))
                    pair = MaskNounPair(**fields)
                except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
                    raise PairStoreError(f"'{path}' is damaged in line {number}: delete it and mine again") from error
                yield pair


def _write(path: Path, text: str) -> None:
    """Atomic, also when several processes write the same file."""
    partial = path.with_name(partial_name(f'{path.name}.{uuid.uuid4().hex[:12]}'))
    partial.write_text(text, encoding='utf-8')
    commit(partial, path)

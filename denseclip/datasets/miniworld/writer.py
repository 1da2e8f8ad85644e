"""Write miniworld to disk: whole files only, and a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from denseclip.files.atomic import partial_name, write_text

from .layouts import LAYOUTS, Layout, MiniworldError, Request

CARD = 'miniworld.json'
"""What a folder holds and whether it is complete."""


class Writing:
    """One data set on its way to disk; iterate to write it, a step for each picture.

    Args:
        layout: One of :data:`~denseclip.datasets.miniworld.layouts.LAYOUTS`.
        root: Folder to write into, the ``data_root`` of configs: new, empty, or begun by the same request.
        count: Pictures for training; of each category for MVTec AD and VisA.
        val_count: Pictures for validation or test; default: a fifth of ``count``.
        seed: The same arguments always give the same files.
        size: Height and width; default: the layout's.
        kinds: See :class:`Request`.
        val_words: See :class:`Request`.

    Raises:
        MiniworldError: Unknown layout, numbers that make no sense, or a folder that holds something else.
    """

    def __init__(
        self,
        layout: str,
        root: str | Path,
        *,
        count: int = 100,
        val_count: int | None = None,
        seed: int = 0,
        size: tuple[int, int] | None = None,
        kinds: str = 'all',
        val_words: str = 'held-out',
    ) -> None:
        if layout not in LAYOUTS:
            raise MiniworldError(f"unknown layout '{layout}'; choose from {', '.join(LAYOUTS)}")
        kind = LAYOUTS[layout]
        val_count = max(1, count // 5) if val_count is None else val_count
        request = Request(Path(root), count, val_count, seed, size or kind.size, kinds, val_words)
        _check(request)
        self.layout: Layout = kind(request)
        self.root = request.root
        self._facts = {'layout': layout, **request.facts()}
        self.complete = self._begun_before()

    def __len__(self) -> int:
        """Number of pictures; none when the folder is complete already."""
        return 0 if self.complete else len(self.layout.jobs())

    def __iter__(self) -> Iterator[None]:
        """Write the pictures, then lists and annotations."""
        if self.complete:
            return
        self.root.mkdir(parents=True, exist_ok=True)
        self._write_card(complete=False)
        for job in self.layout.jobs():
            self.layout.write(job)
            yield
        self.layout.finish()
        self._write_card(complete=True)
        self.complete = True

    def _write_card(self, *, complete: bool) -> None:
        card = {**self._facts, 'classes': list(self.layout.classes), 'complete': complete}
        write_text(self.root / CARD, json.dumps(card, indent=1) + '\n')

    def _begun_before(self) -> bool:
        """Whether the folder is complete; False also for a new one.

        Raises:
            MiniworldError: It holds something that this request did not write.
        """
        if self.root.exists() and not self.root.is_dir():
            raise MiniworldError(f"'{self.root}' is a file, not a folder; choose another")
        card = self.root / CARD
        if not card.exists():
            strangers = [p for p in self.root.iterdir() if p.name != partial_name(CARD)] if self.root.is_dir() else []
            if strangers:
                raise MiniworldError(f"'{self.root}' holds other files and no {CARD}; choose a new or empty folder")
            return False
        try:
            earlier = json.loads(card.read_text(encoding='utf-8'))
            other = [f'{k} {earlier.get(k)} instead of {v}' for k, v in self._facts.items() if earlier.get(k) != v]
        except (json.JSONDecodeError, AttributeError) as error:
            raise MiniworldError(f"'{card}' cannot be read ({error}); choose a new folder") from error
        if other:
            raise MiniworldError(f"'{self.root}' holds another miniworld: {'; '.join(other)}. Choose a new folder")
        return bool(earlier.get('complete'))


def write_miniworld(layout: str, root: str | Path, **options: object) -> Path:
    """Write a data set and return its folder; arguments as for :class:`Writing`."""
    writing = Writing(layout, root, **options)  # type: ignore[arg-type]
    for _ in writing:
        pass
    return writing.root


def _check(request: Request) -> None:
    if request.count < 0 or request.val_count < 0 or request.count + request.val_count == 0:
        raise MiniworldError(f'nothing to write: count {request.count}, val_count {request.val_count}')
    if request.seed < 0:
        raise MiniworldError(f'seed {request.seed} is negative; take 0 or more')
    if min(request.size) < 16 or max(request.size) > 4096:
        raise MiniworldError(f'size {request.size[0]}x{request.size[1]} is not within 16..4096 pixels a side')
    for name, known in (('kinds', ('all', 'seen')), ('val_words', ('held-out', 'seen'))):
        if getattr(request, name) not in known:
            raise MiniworldError(f"{name} '{getattr(request, name)}' is unknown; choose from {', '.join(known)}")

"""Text embeddings that were made elsewhere, by a text model of any size: a file of rows, names, and their space."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.files.provenance import provenance
from denseclip.weights import WeightFileError, read_safetensors, write_safetensors

from .text_bank import TextBank

KEY = 'embeddings'


class ReadyTextBank(TextBank):
    """A bank that looks names up instead of running a text tower.

    Args:
        names: What the rows are of; upper and lower case are the same.
        embeddings: Rows, made unit length.
        space: Name of the joint space that they lie in, that is of the image tower that they were made for.
        merge: See :class:`TextBank`.
        source: Where they come from, for messages.

    Raises:
        ValueError: If rows and names differ in number, a name comes twice, or a row has no direction.

    Shape:
        - embeddings: :math:`(P, E)`
    """

    def __init__(
        self, names: Sequence[str], embeddings: Tensor, space: str, merge: str = 'mean', source: str = 'the embeddings'
    ) -> None:
        if merge not in ('mean', 'max'):
            raise ValueError(f"merge='{merge}' is unknown; choose 'mean' (of embeddings) or 'max' (of scores).")
        if embeddings.ndim != 2 or len(embeddings) != len(names) or not names:
            shape = tuple(embeddings.shape)
            raise ValueError(f'{source}: {shape} numbers for {len(names)} names; give one row a name.')
        rows = embeddings.detach().float()
        bad = [name for name, row in zip(names, rows, strict=True) if not bool(row.isfinite().all() & row.any())]
        if bad:
            raise ValueError(f"{source}: the row of '{bad[0]}' is zero or holds numbers that are none.")
        self._places = {_plain(name): place for place, name in enumerate(names)}
        if len(self._places) < len(names):
            twice = next(n for place, n in enumerate(names) if self._places[_plain(n)] != place)
            raise ValueError(f"{source}: '{twice}' comes twice; keep one of its rows.")
        self.names, self.space, self.merge, self.source = tuple(names), space, merge, source
        self.templates, self.cache = ('{}',), None
        self._rows = F.normalize(rows, dim=-1)

    @property
    def embed_dim(self) -> int:
        """Size of the embeddings."""
        return self._rows.shape[1]

    def _name_embeddings(self, prompts: tuple[str, ...]) -> Tensor:
        missing = [name for name in prompts if _plain(name) not in self._places]
        if missing:
            near = difflib.get_close_matches(_plain(missing[0]), self._places, n=1)
            hint = f"; did you mean '{self.names[self._places[near[0]]]}'?" if near else ''
            raise ValueError(
                f"{self.source} has no embedding of '{missing[0]}' ({len(missing)} of {len(prompts)} names lack "
                f'one){hint}'
            )
        return self._rows[torch.tensor([self._places[_plain(name)] for name in prompts], device=self._rows.device)]


def read_ready_text(
    path: str | Path, space: str, merge: str = 'mean', adaptor: str | Path | None = None
) -> ReadyTextBank:
    """Read a file of :func:`write_ready_text`.

    Args:
        path: The file.
        space: The joint space that is wanted.
        merge: See :class:`TextBank`.
        adaptor: File of LLM2CLIP's adaptor: the rows are states of a language model, and it maps them into the space.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightFileError: If it is none of this kind.
        ValueError: If its embeddings lie in another space, or cannot be used.
    """
    found = read_safetensors(path)
    rows, meta = found.state_dict.get(KEY), found.meta
    names = _names(meta)
    if rows is None or names is None or not isinstance(meta.get('space'), str):
        raise WeightFileError(
            f"'{path}' is no file of text embeddings: it needs a tensor '{KEY}' and, in its metadata, 'names' (a JSON "
            "list) and 'space'. denseclip.clip.ready_text.write_ready_text writes one."
        )
    if meta['space'] != space:
        raise ValueError(
            f"'{path}' holds embeddings of the space '{meta['space']}', not of '{space}': numbers of two spaces cannot "
            'be compared. Make them with the text model that belongs to these pictures.'
        )
    if adaptor is not None:
        from .text.llm_adaptor import read_adaptor

        with torch.no_grad():
            rows = read_adaptor(adaptor)(rows.float())
    return ReadyTextBank(names, rows, space, merge, source=f"'{path}'")


def write_ready_text(path: str | Path, names: Sequence[str], embeddings: Tensor, space: str) -> Path:
    """Write text embeddings of any model.

    Args:
        path: A ``.safetensors`` file.
        names: What the rows are of.
        embeddings: One row per name.
        space: A name for the joint space, such as that of the image tower.

    Raises:
        ValueError: See :class:`ReadyTextBank`.

    Shape:
        - embeddings: :math:`(P, E)`
    """
    ReadyTextBank(names, embeddings, space, source='write_ready_text')
    return write_safetensors(
        {KEY: embeddings}, path, {**provenance(), 'names': json.dumps(list(names)), 'space': space}
    )


def _names(meta: Mapping[str, object]) -> list[str] | None:
    try:
        names = json.loads(str(meta.get('names')))
    except ValueError:
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _plain(name: str) -> str:
    return ' '.join(name.split()).casefold()

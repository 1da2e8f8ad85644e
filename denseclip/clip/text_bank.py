"""Vocabulary + templates + text tower -> embeddings, computed once and kept in memory and on disk."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.precision import autocast_dtype
from denseclip.core.values import has_values

from .templates import fill, resolve_templates
from .text import TextTower
from .text_cache import TextCache
from .vocabulary import Vocabulary, VocabularyLike

_FORMAT = 2  # part of every cache key; raise it when the meaning of the stored tensors changes
_IN_MEMORY = 20_000  # names; 40 MB of 512 numbers each


@dataclass(frozen=True)
class TextEmbeddings:
    """Embeddings of a vocabulary, of length one unless all classes are described.

    Attributes:
        embeddings: (K, E) one row per class, or (P, E) one row per name when classes are merged by maximum score.
        class_index: Class of each row, LongTensor.
        names: Class names; with background prompts, ``'background'`` comes last.
        merge: ``'mean'`` or ``'max'``.
    """

    embeddings: Tensor
    class_index: Tensor
    names: tuple[str, ...]
    merge: str = 'mean'

    def __len__(self) -> int:
        """Number of classes, the background included when it has prompts."""
        return len(self.names)

    def to(self, *args: Any, **kwargs: Any) -> TextEmbeddings:
        """Copy on another device or of another dtype, as ``Tensor.to`` says."""
        moved = self.embeddings.to(*args, **kwargs)
        return TextEmbeddings(moved, self.class_index.to(moved.device), self.names, self.merge)

    @property
    def num_rows(self) -> int:
        """Number of embeddings."""
        return len(self.embeddings)

    def only(self, kept: Tensor) -> TextEmbeddings:
        """The embeddings of some classes, (K,) bool, numbered anew."""
        rows = kept[self.class_index]
        names = tuple(name for name, wanted in zip(self.names, kept.tolist(), strict=True) if wanted)
        return TextEmbeddings(self.embeddings[rows], (kept.cumsum(0) - 1)[self.class_index[rows]], names, self.merge)

    def class_scores(self, scores: Tensor, dim: int = 1) -> Tensor:
        """Scores of rows to scores of classes: unchanged for ``'mean'``, the best name of each class for ``'max'``."""
        if self.merge == 'mean':
            return scores
        shape = list(scores.shape)
        shape[dim] = len(self)
        index_shape = [1] * scores.ndim
        index_shape[dim] = -1
        index = self.class_index.to(scores.device).view(index_shape).expand_as(scores)
        return scores.new_empty(shape).scatter_reduce_(dim, index, scores, 'amax', include_self=False)


class TextBank:
    """Embeds vocabularies with a text tower and remembers the results.

    For each name: every template is filled and encoded, the embeddings are normalised, averaged, and normalised again
    (towers that map text into another space average before they map, see :meth:`TextTower.encode_sets`).
    The names of a class are merged by the mean of their embeddings (normalised again), or kept apart so that the
    caller takes the best score (:meth:`TextEmbeddings.class_scores`). Where all classes are described, their score is
    the mean of the sentences' scores, as in "Visual Classification via Description": the mean is not normalised again.

    What is remembered belongs to one state of the tower's weights and tokenizer, one list of templates and one dtype:
    change any of these and the tower runs again. In memory names are kept one by one, so that only the names of another
    vocabulary that were not met before are encoded. On disk there is a file per list of names, see :class:`TextCache`.

    Args:
        tower: Encodes prompts.
        templates: A set's name or sentences, see :func:`denseclip.clip.templates.resolve_templates`.
        merge: ``'mean'`` or ``'max'``.
        cache_dir: Folder of the disk cache; None keeps results in memory only. See ``text_cache.default_cache_dir``.
        batch_size: Prompts per pass through the tower.
    """

    def __init__(
        self,
        tower: TextTower,
        templates: str | Iterable[str] = 'plain',
        merge: str = 'mean',
        cache_dir: str | Path | None = None,
        batch_size: int = 256,
    ) -> None:
        if merge not in ('mean', 'max'):
            raise ValueError(f"merge='{merge}' is unknown; choose 'mean' (of embeddings) or 'max' (of scores).")
        self.tower = tower
        self.templates = resolve_templates(templates)
        self.merge = merge
        self.cache = TextCache(cache_dir) if cache_dir is not None else None
        self.batch_size = batch_size
        self._cache_dir, self._bare = cache_dir, cast('TextBank | None', None)
        self._memory: OrderedDict[tuple[str, str], Tensor] = OrderedDict()

    @staticmethod
    def from_file(path: str | Path, space: str, merge: str = 'mean', adaptor: str | Path | None = None) -> TextBank:
        """A bank of embeddings that were made elsewhere; see :func:`denseclip.clip.ready_text.read_ready_text`.

        Args:
            path: File of embeddings with names.
            space: The joint space that is wanted; a file of another one is refused.
            merge: ``'mean'`` or ``'max'``.
            adaptor: File of LLM2CLIP's adaptor, for states of a language model.
        """
        from .ready_text import read_ready_text  # which builds on this module

        return read_ready_text(path, space, merge, adaptor)

    def encode(self, vocabulary: VocabularyLike) -> TextEmbeddings:
        """Embeddings of a vocabulary, on the tower's device.

        Args:
            vocabulary: Anything :meth:`Vocabulary.of` takes.

        Raises:
            PromptTooLongError: If a filled template does not fit the tower's context.
        """
        vocabulary = Vocabulary.of(vocabulary)
        prompts = vocabulary.prompts
        names = vocabulary.names + (('background',) if vocabulary.background_names else ())
        index = vocabulary.class_index
        by_name = self._with_sentences(prompts, vocabulary.sentences)
        index = index.to(by_name.device)
        if self.merge == 'max':
            return TextEmbeddings(by_name, index, names, 'max')
        sums = by_name.new_zeros(len(names), by_name.shape[1]).index_add_(0, index, by_name)
        own = torch.arange(len(names), device=index.device)
        if all(entry.descriptors for entry in vocabulary.classes):
            # The mean of cosines is the product with a mean that is not of length one.
            counts = index.bincount(minlength=len(names)).to(sums.dtype)
            return TextEmbeddings(sums / counts[:, None], own, names)
        return TextEmbeddings(F.normalize(sums, dim=-1), own, names)

    def key(self, prompts: Iterable[str]) -> str:
        """Name of the cache entry for these names in the present state of the tower."""
        parameter = next(self.tower.parameters())
        how = [str(parameter.dtype), str(autocast_dtype(parameter.device.type))]
        content = [_FORMAT, self.tower.fingerprint(), list(self.templates), list(prompts), how]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _with_sentences(self, prompts: tuple[str, ...], sentences: frozenset[str]) -> Tensor:
        """One unit-length row per prompt; sentences stand as they are, in no template."""
        if not sentences:
            return self._name_embeddings(prompts)
        if self._bare is None:
            self._bare = type(self)(self.tower, '{}', self.merge, self._cache_dir, self.batch_size)
        plain = tuple(text for text in prompts if text not in sentences)
        bare = tuple(text for text in prompts if text in sentences)
        rows = dict(zip(bare, self._bare._name_embeddings(bare), strict=True))
        if plain:
            rows.update(zip(plain, self._name_embeddings(plain), strict=True))
        return torch.stack([rows[text] for text in prompts])

    def _name_embeddings(self, prompts: tuple[str, ...]) -> Tensor:
        """One unit-length row per name: from memory, from disk, or from the tower."""
        parameter = next(self.tower.parameters())
        device = parameter.device
        if not has_values(parameter):
            return self._run_tower(prompts)  # without values there is no fingerprint to keep embeddings by
        state, key = self.key(()), self.key(prompts)
        new = tuple(dict.fromkeys(name for name in prompts if (state, name) not in self._memory))
        shape = (len(prompts), self.tower.embed_dim)
        found = self.cache.read(key, shape, parameter.dtype) if new and self.cache is not None else None
        if found is not None:
            self._remember(state, prompts, found.to(device))
        elif new:
            self._remember(state, new, self._run_tower(new))
        rows = torch.stack([self._memory[state, name].to(device) for name in prompts])
        if self.cache is not None and found is None and (new or not self.cache.has(key)):
            self.cache.write(key, rows, {'templates': list(self.templates), 'names': list(prompts)})
        for name in prompts:
            self._memory.move_to_end((state, name))
        while len(self._memory) > _IN_MEMORY:
            self._memory.popitem(last=False)
        return rows

    def _remember(self, state: str, names: tuple[str, ...], rows: Tensor) -> None:
        self._memory.update({(state, name): row.clone() for name, row in zip(names, rows, strict=True)})

    def _run_tower(self, prompts: tuple[str, ...]) -> Tensor:
        sentences = [fill(template, name) for name in prompts for template in self.templates]
        return self.tower.encode_sets(sentences, len(prompts), self.batch_size)

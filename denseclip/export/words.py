"""The text side of a model: its graph, its tokenizer, the rows of its own words and of unrelated ones."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from denseclip.clip.text import BPETokenizer
from denseclip.clip.unrelated import unrelated_words
from denseclip.clip.vocabulary import Vocabulary
from denseclip.export.errors import ExportError
from denseclip.export.graphs import TextGraph
from denseclip.runtime.graphs import CLEANING
from denseclip.runtime.manifest import Words

_ENTRY_LIMIT = 512
"""Tokens of the longest prompt that the check of a text tower makes."""
_PROBES = (
    'a photo of a cat.',
    "the dog's  bowl, 3 of 12!",
    'Überführung &amp; naïve café',
    '路灯 ‘quoted’ — dash',
    '1.5 m (left)',
    'x',
)


class WordSide(ABC):
    """What an export needs to know of a model's words.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @abstractmethod
    def words(self) -> Words | None:
        """How words become rows, for the manifest; None: the model has none."""

    @abstractmethod
    def rows(self) -> np.ndarray | None:
        """Rows of the words that the model has now, (K, E) or one for each name, float32; None: it has none."""

    def unrelated(self) -> np.ndarray | None:
        """Rows of all unrelated words, (M, C), whose products with the graph's ``pixels`` are scores; None: no use."""
        return None

    @property
    @abstractmethod
    def tower(self) -> Any:
        """Text tower."""

    @property
    def contexts(self) -> Tensor | None:
        """Learned contexts of all prompts, (1, N2, W)."""
        return None

    def graph(self, tower: Any) -> TextGraph:
        """The tower, ready for export or as it is, as a function of tokens."""
        return TextGraph(tower, self.contexts)

    def write_tokenizer(self, path: Path) -> None:
        """Write ``tokenizer.json``.

        Raises:
            ExportError: If the tokenizer cannot be written as one; fixed words go without.
        """
        tokenizer = self.tower.tokenizer
        content = bpe_json(tokenizer) if isinstance(tokenizer, BPETokenizer) else None
        if content is None:
            file = getattr(tokenizer, 'path', None)
            if file is None:
                raise ExportError(
                    f'the tokenizer of {type(self.tower).__name__} has no tokenizer.json, which the runtime reads; '
                    'give the words that the export shall know (--classes).'
                )
            content = Path(file).read_bytes()
        path.write_bytes(content)
        _compare_tokenizers(tokenizer, path, self._cleaning())

    def prompts(self, most: int) -> list[Tensor]:
        """Batches of tokens unlike the example's: one, many, short, and as long as can be.

        Args:
            most: Tokens that a prompt may have.
        """
        most = min(most, _ENTRY_LIMIT)
        long = self.tower.tokenize(['tree'])
        filled = torch.cat([long[:, :1], long[:, 1:2].expand(-1, most - 2), long[:, -1:]], dim=1)
        several = self.tower.tokenize([f'a photo of {"a very " * (k % 3)}thing {k}.' for k in range(17)], None)
        return [self.tower.tokenize(['sky']), several[:, :most], filled]

    def _cleaning(self) -> str:
        return 'clip' if isinstance(self.tower.tokenizer, BPETokenizer) else ''


class NoWords(WordSide):
    """Models whose classes are part of their weights."""

    def words(self) -> None:
        """See :class:`WordSide`."""
        return

    def rows(self) -> None:
        """See :class:`WordSide`."""
        return

    @property
    def tower(self) -> Any:
        """See :class:`WordSide`; there is none."""
        return None


class ContextWords(WordSide):
    """Words of DenseCLIP: prompts with learned contexts, merged with their length."""

    @property
    def tower(self) -> Any:
        """See :class:`WordSide`."""
        return self.model.text_encoder.tower

    @property
    def contexts(self) -> Tensor | None:
        """See :class:`WordSide`."""
        return self.model.contexts

    def words(self) -> Words:
        """See :class:`WordSide`."""
        text, contexts = self.model.class_text, 0 if self.contexts is None else self.contexts.shape[1]
        return Words(
            templates=tuple(text.templates),
            most_tokens=text.context_length or self.tower.context_length - contexts,
            pad_id=self.tower.tokenizer.pad_id,
            backgrounds=('none', 'prompts'),
            embed_dim=self.tower.embed_dim,
            classes=text.num_classes if self.model.closed_set else None,
            merge='length',
            cleaning=self._cleaning(),
        )

    def rows(self) -> np.ndarray:
        """See :class:`WordSide`."""
        with torch.inference_mode():
            return self.model.class_text(self.model.text_encoder, self.contexts)[0].float().numpy()

    def unrelated(self) -> np.ndarray | None:
        """See :class:`WordSide`."""
        with torch.inference_mode():
            text = self.model.all_unrelated_text()
            return None if text is None else self.model.decode_head.rows(text)[0].float().numpy()


class DetectorWords(ContextWords):
    """Words of DenseCLIP's detectors, those of their training."""

    def unrelated(self) -> np.ndarray | None:
        """See :class:`WordSide`; what is no object is the heads' matter."""
        return None


class BankWords(WordSide):
    """Words of models that compare pixels with unit-length embeddings.

    Args:
        model: Has :class:`ClassEmbeddings` as ``text``.
        compares: Whether its pixels can be compared with unrelated words.
        threshold: Whether it knows a background by threshold.
    """

    def __init__(self, model: Any, compares: bool = True, threshold: bool = True) -> None:
        super().__init__(model)
        self.compares, self.threshold = compares, threshold

    @property
    def tower(self) -> Any:
        """See :class:`WordSide`."""
        return self.model.text.tower

    def words(self) -> Words:
        """See :class:`WordSide`."""
        bank = self.model.text.bank
        return Words(
            templates=tuple(bank.templates),
            most_tokens=self.tower.context_length,
            pad_id=self.tower.tokenizer.pad_id,
            backgrounds=('none', 'prompts', *(('threshold',) if self.threshold else ())),
            embed_dim=self.tower.embed_dim,
            merge=bank.merge,
            cleaning=self._cleaning(),
        )

    def rows(self) -> np.ndarray:
        """See :class:`WordSide`."""
        found = self.model.class_embeddings()
        return getattr(found, 'embeddings', found).float().numpy()

    def unrelated(self) -> np.ndarray | None:
        """See :class:`WordSide`."""
        if not self.compares:
            return None
        nothing = Vocabulary.from_names(['\u00a7'])  # no name of any noun: all rows
        return (self.model.unrelated_text(nothing) * self.model.scale).float().numpy()


class NameWords(BankWords):
    """Names of a query-based model, each a row of its own."""

    def __init__(self, model: Any) -> None:
        super().__init__(model, compares=False, threshold=False)

    def words(self) -> Words:
        """See :class:`WordSide`; masks of no class are its background."""
        return replace(super().words(), backgrounds=('none',))

    def rows(self) -> np.ndarray:
        """See :class:`WordSide`."""
        return self.model.text().embeddings.float().numpy()


class RegionWords(BankWords):
    """Words of a two-stage model, which cannot be compared with unrelated ones pixel by pixel."""

    def __init__(self, model: Any) -> None:
        super().__init__(model, compares=False, threshold=False)

    def words(self) -> Words:
        """See :class:`WordSide`; a learned background is what no mask covers."""
        return replace(super().words(), backgrounds=('none', 'prompts', 'learned'))

    def rows(self) -> np.ndarray:
        """See :class:`WordSide`."""
        return self.model.text().embeddings.float().numpy()


class StateWords(WordSide):
    """The two states of the object of an anomaly model."""

    @property
    def tower(self) -> Any:
        """See :class:`WordSide`."""
        return self.model.text_tower

    def words(self) -> Words:
        """See :class:`WordSide`."""
        return Words(
            templates=('{}',),
            most_tokens=self.tower.context_length,
            pad_id=self.tower.tokenizer.pad_id,
            backgrounds=(),
            embed_dim=self.tower.embed_dim,
            classes=2,
            cleaning=self._cleaning(),
        )

    def rows(self) -> np.ndarray:
        """See :class:`WordSide`; the states of its object, or of any where it has none."""
        return self.model.text_of(self.model.object_name or 'object').states.numpy()


def unrelated_file(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of the file ``unrelated``."""
    return {'words': np.array(unrelated_words()), 'rows': rows.astype(np.float32)}


def bpe_json(tokenizer: BPETokenizer) -> bytes:
    """CLIP's byte-pair encoding, or a cut of it, as a ``tokenizer.json``."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    bpe: Any = tokenizer._bpe
    model = models.BPE(vocab=dict(bpe.encoder), merges=list(bpe.bpe_ranks), end_of_word_suffix='</w>')
    found = Tokenizer(model)
    found.normalizer = normalizers.Lowercase()
    words = Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+""")
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior='removed', invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    names = {number: name for name, number in bpe.encoder.items()}
    start, end = ((names[number], number) for number in (bpe.sot_token_id, bpe.eot_token_id))
    found.post_processor = processors.TemplateProcessing(single=f'{start[0]} $A {end[0]}', special_tokens=[start, end])
    return json.dumps(json.loads(found.to_str()), ensure_ascii=False).encode()


def _compare_tokenizers(tokenizer: Any, path: Path, cleaning: str) -> None:
    from tokenizers import Tokenizer

    written = Tokenizer.from_file(str(path))
    written.no_truncation()
    written.no_padding()
    for text in (*_PROBES, *unrelated_words()):
        if written.encode(CLEANING[cleaning](text)).ids != list(tokenizer(text)):
            raise ExportError(
                f"the written tokenizer splits '{text}' in another way than the model's; give the words that the "
                'export shall know (--classes).'
            )

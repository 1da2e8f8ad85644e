"""What exported models with classes have in common: files, graph, words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from denseclip.apis.errors import UserError
from denseclip.apis.predictor import Predictor
from denseclip.clip.vocabulary import Vocabulary
from denseclip.runtime.graphs import TextSide, check_vocabulary, class_prompts, session
from denseclip.runtime.manifest import Manifest
from denseclip.runtime.results import Asked


class RuntimeWordModel(Predictor):
    """Base of exported models with classes. Threads may share one: words belong to the call.

    Args:
        folder: See :func:`denseclip.runtime.load`.
        vocabulary: See there.
        threads: See there.
        manifest: What lies in the folder, where that has been read.
        trust: See there.
        precision: See there.

    Attributes:
        folder: Where the export lies.
        manifest: What the export says of itself.
        own_vocabulary: The words that the model came with; None: it came without.
        gives: Kind of model that this class runs.
    """

    gives = 'labels'

    def __init__(
        self,
        folder: str | Path,
        vocabulary: Any = None,
        threads: int | None = None,
        manifest: Manifest | None = None,
        trust: bool = False,
        precision: str = 'fp32',
    ) -> None:
        self.folder = folder = Path(folder)
        self._threads, self._trust, self._precision = threads, trust, precision
        self.manifest = Manifest.read(folder) if manifest is None else manifest
        self.manifest.check_gives(folder, self.gives)
        files = {part: folder / name for part, name in self.manifest.files.items()}
        own = self.manifest.vocabulary
        self.own_vocabulary = None if own is None else Vocabulary.of(own)
        self.model = session(files['image'], threads, trust, precision)
        self._text: TextSide | None = None
        self._fixed: np.ndarray | None = None
        if 'embeddings' in files:
            self._fixed = array(files['embeddings'], 'embeddings')
        elif self.manifest.words is not None:
            self._text = TextSide(self.manifest.words, files['text'], files['tokenizer'], threads, trust)
        self._vocabulary = self.own_vocabulary if vocabulary is None else Vocabulary.of(vocabulary)
        if self._vocabulary is not None:
            self._check(self._vocabulary)
        self._begin()

    def _begin(self) -> None:
        """What a kind of model sets up of its own, when the files are open."""

    @property
    def precision(self) -> str:
        """What graphs of pictures compute in; those of words are in float32."""
        return self._precision

    @property
    def vocabulary(self) -> Vocabulary:
        """The words of calls without words of their own.

        Raises:
            UserError: If there are none.
        """
        if self._vocabulary is None:
            raise UserError('this export brings no classes of its own; give some (--classes).')
        return self._vocabulary

    def class_embeddings(self, words: Any = None) -> np.ndarray:
        """Embeddings of words, (K, E) float32; a background with words of its own comes last.

        Raises:
            UserError: If the model has no words, or cannot tell these apart.
        """
        text = self._asked(self.vocabulary if words is None else Vocabulary.of(words)).text
        if text is None:
            raise UserError(f'{self.manifest.model} has fixed classes and no embeddings of words.')
        return text

    def _check(self, vocabulary: Vocabulary) -> None:
        """Refuse words that the model cannot tell apart."""
        words = self.manifest.words
        if self._text is not None and words is not None:
            check_vocabulary(words, vocabulary)
            return
        own = self.own_vocabulary
        if own is not None and vocabulary != own:
            listed = ', '.join(own.names[:10]) + (', ...' if len(own.names) > 10 else '')
            raise UserError(
                f'this export tells apart its own {len(own.names)} classes only ({listed}); leave the classes out, or '
                'export the model without --classes if its words are free.'
            )

    def _feeds(self, images: np.ndarray, asked: Asked) -> dict[str, np.ndarray]:
        """Inputs of the graph ``image`` for pictures (N, 3, H, W)."""
        if asked.text is None:
            return {'images': images}
        prompts = (
            {'prompts': class_prompts(asked.text, asked.groups)} if getattr(self.manifest.rule, 'guided', 0) else {}
        )
        return {'images': images, 'text': asked.text, **prompts}

    def _asked(self, vocabulary: Vocabulary) -> Asked:
        self._check(vocabulary)
        text = self._fixed if self._text is None else self._text.embeddings(vocabulary)
        by_name = self.manifest.words is not None and self.manifest.words.merge == 'max'
        names = [k for k, group in enumerate(vocabulary.groups) for _ in (group if by_name else group[:1])]
        return Asked(vocabulary, text, tuple(names))


def array(path: Path, name: str) -> np.ndarray:
    """An array of a file."""
    with np.load(path, allow_pickle=False) as content:
        return content[name]

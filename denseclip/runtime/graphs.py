"""Graphs in the library that runs them, and the class embeddings of words."""

from __future__ import annotations

import html
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from denseclip.apis.errors import UserError
from denseclip.clip.vocabulary import Vocabulary
from denseclip.runtime.manifest import PROGRAM, Words

PRECISIONS = ('fp32', 'bf16')
"""What graphs compute in, whatever their weights are kept in."""
OPENVINO = '.xml'
_AT_ONCE = 64
_REMEMBERED = 16


def session(path: Path, threads: int | None = None, trust: bool = False, precision: str = 'fp32') -> Any:
    """A graph, ready to run on the CPU: it answers to ``run(outputs, inputs)`` as onnxruntime's sessions do.

    Args:
        path: The file.
        threads: Threads of one operator; None: as many as the library likes.
        trust: Open it even if that runs code in it, which programs of PyTorch may hold.
        precision: What it computes in, one of :data:`PRECISIONS`; ``'bf16'`` is OpenVINO's alone.

    Raises:
        ImportError: If the library that runs it is not installed.
        UserError: If it cannot read the file, opening it may run code and ``trust`` is False, or the library or the
            processor does not compute in this precision.
    """
    opener = OPENERS.get(path.suffix)
    if opener is None:
        raise UserError(f"'{path}' is no graph: one ends in {', '.join(OPENERS)}; export the model again.")
    if precision not in PRECISIONS:
        raise UserError(f"exported models run in {' or '.join(PRECISIONS)}, not in '{precision}'.")
    if precision != 'fp32' and path.suffix != OPENVINO:
        raise UserError(
            f"'{path}' is run in float32: {precision} is for exports of --to openvino; leave --precision (precision=) "
            'out, or export the model so.'
        )
    return opener(path, threads, trust, precision)


def _onnxruntime(path: Path, threads: int | None, *_: Any) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "exported models are run by onnxruntime, which is not installed: pip install 'denseclip-suite[runtime]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    except Exception as error:  # onnxruntime's own types derive from RuntimeError and Exception alike
        reason = ' '.join(str(error).split())
        raise UserError(f"onnxruntime cannot read '{path}': {reason:.300}; export the model again.") from error


def _openvino(path: Path, threads: int | None, _: bool, precision: str) -> Any:
    from denseclip.runtime.openvino_graph import OpenVINOGraph

    return OpenVINOGraph(path, threads, precision)


def _torch(path: Path, threads: int | None, trust: bool, _: str) -> Any:
    from denseclip.runtime.torch_program import TorchProgram

    return TorchProgram(path, threads, trust)


OPENERS: Mapping[str, Callable[[Path, int | None, bool, str], Any]] = MappingProxyType(
    {'.onnx': _onnxruntime, OPENVINO: _openvino, PROGRAM: _torch}
)
"""What opens a graph, by how its name ends."""


class TextSide:
    """Class embeddings from the exported text tower, those of the last vocabularies remembered.

    The tower is opened for new words and closed after them: its weights do not stay in memory.

    Args:
        words: What the manifest says of them.
        graph: File of the tower.
        tokenizer: ``tokenizer.json``.
        threads: See :func:`session`.
        trust: See there.
    """

    def __init__(
        self, words: Words, graph: Path, tokenizer: Path, threads: int | None = None, trust: bool = False
    ) -> None:
        self._words, self._graph, self._tokenizer = words, graph, tokenizer
        self._threads, self._trust = threads, trust
        self._known: OrderedDict[Vocabulary, np.ndarray] = OrderedDict()
        self._turn = threading.Lock()

    def embeddings(self, vocabulary: Vocabulary) -> np.ndarray:
        """One row for each class, the background last where it has words.

        Raises:
            UserError: If a prompt is too long.

        Shape:
            - result: :math:`(K, E)`, float32
        """
        with self._turn:
            if vocabulary not in self._known:
                self._known[vocabulary] = self._encode(vocabulary)
            self._known.move_to_end(vocabulary)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return self._known[vocabulary]

    def _encode(self, vocabulary: Vocabulary) -> np.ndarray:
        prompts = [t.replace('{}', name) for name in vocabulary.prompts for t in self._words.templates]
        rows = self.sentences(prompts)
        groups, templates = [len(group) for group in vocabulary.groups], len(self._words.templates)
        if self._words.merge == 'length':
            return merge_prompts(rows, [count * templates for count in groups])
        names = mean_directions(rows, [templates] * sum(groups))
        return names if self._words.merge == 'max' else mean_directions(names, groups)

    def sentences(self, prompts: Sequence[str]) -> np.ndarray:
        """Embeddings of sentences as they come from the tower.

        Raises:
            UserError: If a sentence is too long.

        Shape:
            - result: :math:`(P, E)`, float32
        """
        clean = CLEANING[self._words.cleaning]
        tokens = self._tokens([clean(prompt) for prompt in prompts])
        tower = session(self._graph, self._threads, self._trust)
        rows = []
        for start in range(0, len(tokens), _AT_ONCE):
            some = tokens[start : start + _AT_ONCE]
            ids = np.full((len(some), max(map(len, some))), self._words.pad_id, dtype=np.int64)
            for row, found in zip(ids, some, strict=True):
                row[: len(found)] = found
            rows.append(tower.run(None, {'tokens': ids})[0])
        return np.concatenate(rows)

    def _tokens(self, prompts: Sequence[str]) -> list[list[int]]:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ImportError(
                "words are read by tokenizers, which is not installed: pip install 'denseclip-suite[runtime]'"
            ) from error
        tokenizer = Tokenizer.from_file(str(self._tokenizer))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        found = [tokenizer.encode(prompt).ids for prompt in prompts]
        for prompt, ids in zip(prompts, found, strict=True):
            if len(ids) > self._words.most_tokens:
                raise UserError(
                    f"'{prompt:.80}' has {len(ids)} tokens, and the model takes {self._words.most_tokens}; shorten it."
                )
        return found


def check_vocabulary(words: Words, vocabulary: Vocabulary) -> None:
    """Refuse what the model cannot tell apart.

    Raises:
        UserError: If its background policy is not one of the model's, it has another number of classes than a model
            that is built for one, or its classes have descriptions.
    """
    if vocabulary.sentences or vocabulary.differences:
        raise UserError(
            'exported models know no descriptions of classes: leave them out, or export the model with these words as '
            'its classes.'
        )
    if vocabulary.background not in words.backgrounds:
        raise UserError(
            f'this model has no background policy "{vocabulary.background}"; choose from '
            f'{", ".join(words.backgrounds)}.'
        )
    if words.classes is not None and len(vocabulary.groups) != words.classes:
        raise UserError(
            f'this model is built for {words.classes} classes, the vocabulary has {len(vocabulary.groups)}; give '
            f'{words.classes}.'
        )


def mean_directions(embeddings: np.ndarray, counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Mean of the directions of some embeddings after another, at length one, as ``TextBank`` makes it.

    Shape:
        - embeddings: :math:`(P, E)`; result: :math:`(K, E)`
    """
    units = unit_rows(embeddings)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return unit_rows(np.add.reduceat(units, starts, axis=0) / np.array(counts)[:, None]).astype(np.float32)


def class_prompts(text: np.ndarray, groups: Sequence[int]) -> np.ndarray:
    """Mean direction of the rows of each class, at length one: what queries that listen to words look at.

    Args:
        text: A row for each class or name.
        groups: Class of each row, rising.

    Shape:
        - text: :math:`(R, E)`; result: :math:`(K, E)`, float32
    """
    return mean_directions(text, np.bincount(groups))


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows at length one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def clean_for_clip(text: str) -> str:
    """What CLIP's tokenizer does to a text before it splits it."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return ' '.join(text.split()).lower()


CLEANING: Mapping[str, Callable[[str], str]] = MappingProxyType({'': str, 'clip': clean_for_clip})
"""By its name in the manifest."""


def merge_prompts(embeddings: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """One embedding for each class from those of its prompts.

    The mean direction at the mean length; a class with one prompt keeps its embedding. It is what
    ``denseclip.models.functional.matching.merge_prompts`` computes.

    Args:
        embeddings: Of prompts, class by class.
        counts: Prompts of each class.

    Shape:
        - embeddings: :math:`(P, E)`; result: :math:`(K, E)`
    """
    rows, start = [], 0
    for count in counts:
        part = embeddings[start : start + count]
        start += count
        if count == 1:
            rows.append(part[0])
            continue
        lengths = np.linalg.norm(part, axis=1, keepdims=True)
        mean = (part / np.maximum(lengths, 1e-12)).mean(axis=0)
        rows.append(mean / max(float(np.linalg.norm(mean)), 1e-12) * lengths.mean())
    return np.stack(rows).astype(np.float32)

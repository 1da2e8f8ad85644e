"""CLIP's byte-pair encoding cut to some words, for towers whose embedding table must be small.

CLIP's vocabulary has 49,408 pieces; a table of that many rows is larger than a whole small model. The cut keeps CLIP's
merges, in CLIP's order, as far as the given words need them. A kept word is split just as CLIP splits it; every other
word is still encoded, in shorter pieces, down to single bytes. No text is ever unknown.
"""

from __future__ import annotations

import functools
import gzip
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer

from denseclip.files.scratch import ScratchFolder

from .text.tokenizers import default_bpe

FILE_NAME = 'bpe.txt.gz'
"""Name of the list of merges beside a model's weights."""
_HEADER = '#version: 0.2'


def merges_for(words: Iterable[str]) -> list[tuple[str, str]]:
    """CLIP's merges that its encoding of these words uses, in CLIP's order.

    Args:
        words: Lower-case words; phrases count as their words.
    """
    bpe, made = default_bpe(), _merge_that_makes()
    needed: set[tuple[str, str]] = set()
    for word in {w for phrase in words for w in phrase.lower().split()}:
        coded = ''.join(bpe.byte_encoder[byte] for byte in word.encode())
        pieces = bpe.bpe(coded).split()
        while pieces:
            merge = made.get(pieces.pop())
            if merge is not None and merge not in needed:
                needed.add(merge)
                pieces += merge
    return sorted(needed, key=bpe.bpe_ranks.__getitem__)


@functools.cache
def _merge_that_makes() -> dict[str, tuple[str, str]]:
    """CLIP's merges by the piece that they make."""
    return {left + right: (left, right) for left, right in default_bpe().bpe_ranks}


def bpe_file(words: Iterable[str]) -> bytes:
    """The cut list of merges in the format of CLIP's own file; equal words give equal bytes."""
    lines = [_HEADER, *(' '.join(merge) for merge in merges_for(words))]
    return gzip.compress('\n'.join(lines).encode(), mtime=0)


def small_tokenizer(words: Sequence[str] | str) -> SimpleTokenizer:
    """open_clip's tokenizer over the cut list.

    Args:
        words: The words, or ``'miniworld'`` for the list that comes with the suite.

    Raises:
        ValueError: Another name.
    """
    with ScratchFolder(Path(tempfile.gettempdir()), 'denseclip-words-') as folder:
        path = folder.path / FILE_NAME
        path.write_bytes(bpe_file(word_list(words)))
        return SimpleTokenizer(bpe_path=str(path))


def word_list(words: Sequence[str] | str) -> list[str]:
    """Words as they are, or those of a named list (``clip/word_lists/<name>.txt``), without comments."""
    if not isinstance(words, str):
        return list(words)
    path = Path(__file__).parent / 'word_lists' / f'{words}.txt'
    if not path.is_file():
        known = ', '.join(sorted(p.stem for p in path.parent.glob('*.txt')))
        raise ValueError(f"no word list is called '{words}'; give the words themselves, or one of {known}")
    lines = path.read_text(encoding='utf-8').splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]

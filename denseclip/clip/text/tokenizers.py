"""Tokenizers behind one small interface: one text in, its ids out, nothing padded and nothing cut unasked."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from open_clip.tokenizer import HFTokenizer, SigLipTokenizer, SimpleTokenizer


@functools.cache
def default_bpe() -> SimpleTokenizer:
    """CLIP's own byte-pair tokenizer, built once (it unpacks a word list)."""
    return SimpleTokenizer()


class BPETokenizer:
    """CLIP's byte-pair encoding: ``[start] pieces [end]``, padded with 0.

    open_clip's tokenizer gives the same ids but cuts long texts silently; this one leaves the length to the caller.
    """

    pad_id = 0

    def __init__(self, tokenizer: SimpleTokenizer | None = None) -> None:
        self._bpe = tokenizer if tokenizer is not None else default_bpe()

    def __call__(self, text: str) -> list[int]:
        """Start token, byte pairs, end token."""
        return [self._bpe.sot_token_id, *self._bpe.encode(text), self._bpe.eot_token_id]

    def shorten(self, ids: list[int], length: int) -> list[int]:
        """First ids, the last of them replaced by the end token."""
        return [*ids[: length - 1], self._bpe.eot_token_id]

    @property
    def identity(self) -> str:
        """Vocabulary size and cleaning rule."""
        return f'bpe {self._bpe.vocab_size} {getattr(self._bpe.clean_fn, "__name__", "")}'


class FileTokenizer:
    """A tokenizer described by a ``tokenizer.json``: ``[CLS] pieces [SEP]``.

    Args:
        path: The file; truncation and padding that it may ask for are switched off.
        pad_id: Id of the padding token.
    """

    def __init__(self, path: str | Path, pad_id: int = 0) -> None:
        try:
            from tokenizers import Tokenizer as Rust
        except ImportError as error:
            raise ImportError("this text tower needs 'tokenizers': pip install 'denseclip-suite[demo]'.") from error
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"'{path}' does not exist; a sentence encoder's folder holds a tokenizer.json.")
        self.pad_id = pad_id
        self._rust = Rust.from_file(str(path))
        self._rust.no_truncation()
        self._rust.no_padding()
        self._hash = hashlib.sha256(path.read_bytes()).hexdigest()

    def __call__(self, text: str) -> list[int]:
        """Ids with the special tokens of the file's template."""
        return self._rust.encode(text).ids

    def shorten(self, ids: list[int], length: int) -> list[int]:
        """First ids, the last of them replaced by the text's own last token."""
        return [*ids[: length - 1], ids[-1]]

    @property
    def identity(self) -> str:
        """Hash of the file."""
        return f'tokenizer.json {self._hash}'


class HubTokenizer:
    """The Hugging Face or SentencePiece tokenizers of open_clip (SigLIP, multilingual models)."""

    def __init__(self, tokenizer: HFTokenizer | SigLipTokenizer) -> None:
        self._wrapped = tokenizer
        inner: Any = tokenizer.tokenizer
        self.pad_id = int(inner.pad_token_id or 0)

    def __call__(self, text: str) -> list[int]:
        """Ids as open_clip gives them, without the padding."""
        # Twice any context: the wrapped call pads to the length asked for, and cuts there.
        ids = self._wrapped([text], context_length=512)[0].tolist()
        while len(ids) > 1 and ids[-1] == self.pad_id:
            ids.pop()
        # SigLIP pads with its end token: the first of them belongs to the text.
        ends_text = self.pad_id == getattr(self._wrapped.tokenizer, 'eos_token_id', None)
        return [*ids, self.pad_id] if ends_text else ids

    def shorten(self, ids: list[int], length: int) -> list[int]:
        """First ids, the last of them replaced by the text's own last token."""
        return [*ids[: length - 1], ids[-1]]

    @property
    def identity(self) -> str:
        """Name and size of the wrapped tokenizer."""
        inner: Any = self._wrapped.tokenizer
        return f'hub {getattr(inner, "name_or_path", "")} {len(inner)}'


def wrap_tokenizer(tokenizer: Any) -> BPETokenizer | HubTokenizer:
    """The suite's interface around one of open_clip's tokenizers."""
    return BPETokenizer(tokenizer) if isinstance(tokenizer, SimpleTokenizer) else HubTokenizer(tokenizer)

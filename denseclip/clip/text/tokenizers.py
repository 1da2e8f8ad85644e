"""Tokenizers behind one small interface: one text in, its ids out, nothing padded and nothing cut unasked."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denseclip.weights.hub import hub_reachable

if TYPE_CHECKING:  # not every text tower needs CLIP's words, which take a while to read
    from open_clip.tokenizer import HFTokenizer, SigLipTokenizer, SimpleTokenizer

CLIPS = 'clips'
"""open_clip's mode of tokenizers whose class token ends the padded text."""


@functools.cache
def default_bpe() -> SimpleTokenizer:
    """CLIP's own byte-pair tokenizer, built once (it unpacks a word list)."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


@functools.lru_cache(maxsize=2**16)
def _ids_of_word(bpe: SimpleTokenizer, word: str) -> tuple[int, ...]:
    return tuple(bpe.encode(word))


class BPETokenizer:
    """CLIP's byte-pair encoding: ``[start] pieces [end]``, padded with 0.

    open_clip's tokenizer gives the same ids but cuts long texts silently; this one leaves the length to the caller.
    """

    pad_id = 0

    def __init__(self, tokenizer: SimpleTokenizer | None = None) -> None:
        self._bpe = tokenizer if tokenizer is not None else default_bpe()
        self._hash: str | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> BPETokenizer:
        """Itself: nothing in it changes, and copies of a model need no word lists of their own."""
        return self

    def __call__(self, text: str) -> list[int]:
        """Start token, byte pairs, end token."""
        return [self._bpe.sot_token_id, *self._encode(text), self._bpe.eot_token_id]

    def _encode(self, text: str) -> list[int]:
        """open_clip's ids of a text, by its words where it is plain.

        What mends encodings and HTML leaves printable ASCII without ``&`` as it is, and no piece crosses a space: there
        a text is its words, and templates repeat them.
        """
        if not (text.isascii() and text.isprintable()) or '&' in text:
            return self._bpe.encode(text)
        return [piece for word in text.split(' ') for piece in _ids_of_word(self._bpe, word)]

    def shorten(self, ids: list[int], length: int) -> list[int]:
        """First ids, the last of them replaced by the end token."""
        return [*ids[: length - 1], self._bpe.eot_token_id]

    @property
    def identity(self) -> str:
        """Cleaning rule, and a hash of pieces and merges."""
        if self._hash is None:
            content = [list(self._bpe.encoder), list(self._bpe.bpe_ranks), self._bpe.all_special_ids]
            self._hash = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return f'bpe {self._bpe.vocab_size} {getattr(self._bpe.clean_fn, "__name__", "")} {self._hash}'


@functools.cache
def default_tokenizer() -> BPETokenizer:
    """CLIP's own byte-pair encoding, one for all models."""
    return BPETokenizer()


class FileTokenizer:
    """A tokenizer described by a ``tokenizer.json``: ``[CLS] pieces [SEP]``.

    Args:
        path: The file; truncation and padding that it may ask for are switched off.
        pad_id: Id of the padding token.

    Attributes:
        path: The file.
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
        self.path = path
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
    """The Hugging Face or SentencePiece tokenizers of open_clip: SigLIP, multilingual models, CLIPA, CLIPS.

    What open_clip's wrapper does to a text is done here without its padding and cutting: cleaning; CLIPA's separator,
    which becomes 0; CLIPS' class token, which stands at the very end, behind the padding.
    """

    def __init__(self, tokenizer: HFTokenizer | SigLipTokenizer) -> None:
        self._wrapped: Any = tokenizer
        self._inner: Any = tokenizer.tokenizer
        self.pad_id = int(self._inner.pad_token_id or 0)
        self._mode = getattr(tokenizer, 'tokenizer_mode', '') or ''
        self._strips = bool(getattr(tokenizer, 'strip_sep_token', False))
        self._identity: tuple[Any, str] | None = None

    def _clean(self, text: str) -> str:
        from open_clip.tokenizer import basic_clean, canonicalize_text

        if hasattr(self._wrapped, 'clean_fn'):
            return self._wrapped.clean_fn(text)
        return canonicalize_text(basic_clean(text))

    def __call__(self, text: str) -> list[int]:
        """Ids as open_clip gives them, without the padding."""
        text = self._clean(text)
        if self._mode == CLIPS:
            ids = self._inner(text, add_special_tokens=False, verbose=False).input_ids
            return [self._inner.bos_token_id, *ids, self._inner.eos_token_id, self._inner.cls_token_id]
        ids = list(self._inner(text, verbose=False).input_ids)
        return [0 if i == self._inner.sep_token_id else i for i in ids] if self._strips else ids

    def shorten(self, ids: list[int], length: int) -> list[int]:
        """First ids, and the special tokens that end a text."""
        ending = self._ending()
        return [*ids[: length - ending], *ids[len(ids) - ending :]]

    def fill(self, ids: list[int], length: int) -> list[int]:
        """Ids padded as open_clip pads them."""
        padding = [self.pad_id] * (length - len(ids))
        if self._mode == CLIPS:
            return [*ids[:-1], *padding, ids[-1]]
        return [*padding, *ids] if getattr(self._inner, 'padding_side', 'right') == 'left' else [*ids, *padding]

    def _ending(self) -> int:
        """How many special tokens end a text."""
        if self._mode == CLIPS:
            return 2
        whole = list(self._inner('a', verbose=False).input_ids)
        bare = list(self._inner('a', add_special_tokens=False, verbose=False).input_ids)
        for start in range(len(whole) - len(bare) + 1):
            if whole[start : start + len(bare)] == bare:
                return len(whole) - start - len(bare)
        return 1

    @property
    def identity(self) -> str:
        """Cleaning, separator, mode, language and padding, and a hash of words, merges and templates."""
        from open_clip.tokenizer import canonicalize_text

        inner = self._inner
        language = getattr(inner, 'src_lang', None)
        if self._identity is None or self._identity[0] != (language, len(inner)):
            clean = getattr(self._wrapped, 'clean_fn', canonicalize_text).__name__
            how = [clean, self._strips, self._mode, language, self.pad_id, getattr(inner, 'padding_side', 'right')]
            ids = [inner.bos_token_id, inner.eos_token_id, inner.sep_token_id, inner.cls_token_id]
            self._identity = ((language, len(inner)), f'hub {how} {ids} {_content_hash(inner)}')
        return self._identity[1]


def _content_hash(inner: Any) -> str:
    """Hash of all that a tokenizer of transformers knows, without the padding and cutting of its last call."""
    rust = getattr(inner, 'backend_tokenizer', None)
    if rust is None:
        content = sorted(inner.get_vocab().items())
    else:
        content = json.loads(rust.to_str())
        content.pop('truncation', None)
        content.pop('padding', None)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class MissingTokenizer:
    """Stands where a tokenizer could not be had, so that pictures can be embedded all the same.

    Args:
        reason: What is missing, and the cure.
    """

    pad_id = 0
    identity = 'missing'

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __call__(self, text: str) -> list[int]:
        """Say what is missing."""
        raise FileNotFoundError(self.reason)

    def shorten(self, ids: list[int], length: int) -> list[int]:
        """Say what is missing."""
        raise FileNotFoundError(self.reason)


def hub_tokenizer(text: Mapping[str, Any], source: str | Path, beside: Path | None = None) -> HubTokenizer:
    """The tokenizer of transformers that a text configuration names.

    Args:
        text: open_clip's ``text_cfg``.
        source: Folder with its files, or its name on the hub.
        beside: Folder of the model, for the message.

    Raises:
        FileNotFoundError: If it is neither here nor to be had.
    """
    from open_clip.tokenizer import HFTokenizer

    options = dict(text.get('tokenizer_kwargs') or {})
    local = Path(source).is_dir() or not hub_reachable()
    try:
        wrapped = HFTokenizer(
            str(source),
            context_length=text.get('context_length', 77),
            tokenizer_mode=text.get('tokenizer_mode'),
            **({'local_files_only': True} if local else {}),
            **options,
        )
    except Exception as error:  # transformers raises many unrelated types; all of them mean: not to be had
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        where = f"'{beside}'" if beside is not None else 'a folder beside the weights'
        raise FileNotFoundError(
            f"the tokenizer '{source}' cannot be read here ({reason}): put its files (tokenizer.json and "
            f'tokenizer_config.json) into {where}.'
        ) from error
    return HubTokenizer(wrapped)


def wrap_tokenizer(tokenizer: Any) -> BPETokenizer | HubTokenizer:
    """The suite's interface around one of open_clip's tokenizers."""
    from open_clip.tokenizer import SimpleTokenizer

    return BPETokenizer(tokenizer) if isinstance(tokenizer, SimpleTokenizer) else HubTokenizer(tokenizer)


def fill(tokenizer: Any, ids: list[int], length: int) -> list[int]:
    """Ids padded to a length as the tokenizer's model expects it: at the end, unless the tokenizer says otherwise."""
    if hasattr(tokenizer, 'fill'):
        return tokenizer.fill(ids, length)
    return [*ids, *[tokenizer.pad_id] * (length - len(ids))]

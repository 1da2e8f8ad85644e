"""What lies beside the graphs of an exported model: all that is needed to run them as the model itself is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.runtime.kinds import KINDS, read_rule

FILE = 'manifest.json'
FORMAT = 3
KIND = 'denseclip-export'
PROGRAM = '.pt2'
"""How files of programs end that PyTorch runs, and that may hold any code."""


@dataclass(frozen=True)
class Picture:
    """How a picture becomes the input of the graph ``image``.

    Attributes:
        resize: ``(long side, short side)`` that the picture has to fit into; None: its own size.
        keep_ratio: Whether it keeps its shape then; else ``resize`` is ``(width, height)`` of the input.
        shorter: Length that its shorter side gets instead, the longer one rounded down; None: see ``resize``.
        fit: Length that its shorter side gets instead unless the longer one grew beyond the second number, 0 for any
            length; halves are rounded up. None: see ``resize``.
        most: Longest side that a picture without ``resize`` is scaled down to.
        rgb: Whether channels are in this order; else BGR.
        mean: Of each channel, in 0..255.
        std: Of each channel, in 0..255.
        pad_divisor: Sides are filled up to whole multiples of it; 1: they are not.
        pad_size: Height and width that pictures are filled up to; None: they are not.
        pad_value: What with, after normalisation.
        crop: Height and width of windows; None: the whole picture at once.
        stride: Their vertical and horizontal step.
        whole: Sides are filled up further, to whole multiples of this height and width, unless they are as long as a
            window; None: they are not.
        whole_value: What with, a number per channel.
        backend: Whose rules it is resized by: ``'cv2'`` or ``'pillow'``, bilinear both.
    """

    resize: tuple[int, int] | None
    keep_ratio: bool
    most: int
    rgb: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad_divisor: int = 1
    pad_size: tuple[int, int] | None = None
    pad_value: float = 0.0
    crop: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    whole: tuple[int, int] | None = None
    whole_value: tuple[float, ...] = (0.0, 0.0, 0.0)
    shorter: int | None = None
    backend: str = 'cv2'
    fit: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.backend not in ('cv2', 'pillow'):
            raise ValueError(f'pictures resized by {self.backend!r}')


@dataclass(frozen=True)
class Words:
    """How words become the input ``text`` of the graph ``image``.

    Attributes:
        templates: Sentences that names are put into.
        most_tokens: Most tokens of a sentence, start and end included.
        pad_id: Token that short sentences are filled up with.
        backgrounds: Policies that the model knows.
        embed_dim: Numbers of a class embedding.
        classes: The only number of classes that the graph takes; None: any.
        merge: What becomes of the sentences of a class: ``'length'``, their mean direction at their mean length;
            ``'mean'``, a mean of length one; ``'max'``, a row for each name, the best of which counts.
        cleaning: What is done to a sentence before the tokenizer: nothing, or ``'clip'``, what CLIP does.
    """

    templates: tuple[str, ...]
    most_tokens: int
    pad_id: int
    backgrounds: tuple[str, ...]
    embed_dim: int
    classes: int | None = None
    merge: str = 'length'
    cleaning: str = ''

    def __post_init__(self) -> None:
        if self.merge not in ('length', 'mean', 'max') or self.cleaning not in ('', 'clip'):
            raise ValueError(f'words merged by {self.merge!r} and cleaned for {self.cleaning!r}')


@dataclass(frozen=True)
class Scores:
    """What the output ``scores`` of the graph ``image`` means.

    Attributes:
        kind: ``'logits'`` of a softmax, ``'cosines'``, or ``'probabilities'`` over the rows of ``text``.
        scale: Factor of the cosines in a softmax.
        calibration: Of confidences, as :mod:`denseclip.structures.word_scores` writes it; None: there is none.
        normalize: Whether the probabilities of a pixel are divided by their sum once labels are decided.
        full: Whether confidences are those of pixels of the picture, not of places of the graph's output.
    """

    kind: str = 'logits'
    scale: float = 1.0
    calibration: Mapping[str, Any] | None = None
    normalize: bool = False
    full: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ('logits', 'cosines', 'probabilities'):
            raise ValueError(f'scores of kind {self.kind!r}')


@dataclass(frozen=True)
class Manifest:
    """The content of ``manifest.json``.

    Attributes:
        model: Class of the model, for people.
        picture: See :class:`Picture`.
        words: See :class:`Words`; None for models whose classes are fixed.
        vocabulary: The words that the model came with, as ``Vocabulary.of`` takes them; None: it came without.
        palette: RGB of every label of them.
        files: File of each part (``image``; ``text`` and ``tokenizer``, or ``embeddings``; ``unrelated``: rows of words
            that confidences are taken against).
        sha256: Of each file.
        scores: See :class:`Scores`.
        versions: Of the packages that made the export.
        checked: What comparing with PyTorch showed, for people.
        lowered: What a lower precision costs, for people; None: the graph is in float32.
        provenance: See :func:`denseclip.files.provenance.provenance`.
        rule: How outputs of the graph become results, see :mod:`denseclip.runtime.kinds`; None: they are scores.
    """

    model: str
    picture: Picture
    words: Words | None
    vocabulary: Mapping[str, Any] | None
    palette: tuple[tuple[int, int, int], ...]
    files: Mapping[str, str]
    sha256: Mapping[str, str]
    scores: Scores = Scores()
    versions: Mapping[str, str] = field(default_factory=dict)
    checked: Mapping[str, Any] = field(default_factory=dict)
    lowered: Mapping[str, Any] | None = None
    rule: Any = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def gives(self) -> str:
        """The kind of model, see :data:`denseclip.runtime.kinds.KINDS`."""
        return next(key for key, kind in KINDS.items() if isinstance(self.rule, kind.rule or type(None)))

    @property
    def needs_trust(self) -> bool:
        """Whether opening its files may run code in them."""
        return any(name.endswith(PROGRAM) for name in self.files.values())

    def check_gives(self, folder: str | Path, kind: str) -> None:
        """Refuse another kind of model.

        Raises:
            UserError: If it is one.
        """
        if self.gives != kind:
            raise UserError(f"'{folder}' holds {self.model}, {KINDS[self.gives].hint}")

    def to_json(self) -> str:
        """Text of the file."""
        content = {'kind': KIND, 'format': FORMAT, **asdict(self)}
        rule = content.pop('rule')
        if rule is not None:
            content[self.gives] = rule
        return json.dumps(content, ensure_ascii=False, indent=1) + '\n'

    @classmethod
    def read(cls, folder: str | Path) -> Manifest:
        """Read the manifest of a folder and compare its files with their sums.

        Raises:
            UserError: If there is none, it is of another kind or a newer format, or a file is missing or changed.
        """
        folder = Path(folder)
        path = folder / FILE
        if not path.is_file():
            raise UserError(
                f"'{folder}' holds no exported model (no {FILE}); make one with: denseclip export --to onnx --out DIR"
            )
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
        except (OSError, ValueError) as error:
            raise UserError(f"'{path}' cannot be read ({error}); export the model again.") from error
        if not isinstance(content, dict) or content.get('kind') != KIND:
            raise UserError(f"'{path}' is no manifest of an exported model; name the folder that export wrote.")
        if content.get('format') != FORMAT:
            raise UserError(
                f"'{path}' has format {content.get('format')!r}, and this version reads {FORMAT}; export the model "
                'again.'
            )
        try:
            found = _of_json(content)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"'{path}' is not complete ({error}); export the model again.") from error
        for part, name in found.files.items():
            _check_file(folder, path, name, found.sha256.get(part))
        return found


def file_sum(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def _check_file(folder: Path, manifest: Path, name: Any, wanted: str | None) -> None:
    if not isinstance(name, str) or name != Path(name).name or name in ('', '.', '..'):
        raise UserError(f"'{manifest}' names the file {name!r}; files of an export lie beside it.")
    path = folder / name
    if not path.is_file():
        raise UserError(f"'{path}' is missing, which '{manifest}' names; copy the whole folder, or export again.")
    if file_sum(path) != wanted:
        raise UserError(f"'{path}' is not the file that was exported (its sha256 differs); copy it, or export, again.")


def _of_json(content: Mapping[str, Any]) -> Manifest:
    picture, words, own = content['picture'], content['words'], content['vocabulary']
    pairs = {key: _pair(picture[key]) for key in ('resize', 'fit', 'pad_size', 'crop', 'stride', 'whole')}
    triples = {key: tuple(float(v) for v in picture[key]) for key in ('mean', 'std', 'whole_value')}
    lists = None if words is None else {key: tuple(map(str, words[key])) for key in ('templates', 'backgrounds')}
    return Manifest(
        str(content['model']),
        Picture(**{**picture, **pairs, **triples}),
        None if words is None else Words(**{**words, **(lists or {})}),
        None if own is None else dict(own),
        tuple((int(r), int(g), int(b)) for r, g, b in content['palette']),
        dict(content['files']),
        dict(content['sha256']),
        Scores(**content['scores']),
        dict(content['versions']),
        dict(content['checked']),
        content.get('lowered'),
        read_rule(content),
        dict(content.get('provenance', {})),
    )


def _pair(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    first, second = value
    return int(first), int(second)

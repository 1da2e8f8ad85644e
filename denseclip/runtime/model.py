"""An exported model: pictures and words in, results of the suite out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, overload

import numpy as np

from denseclip.apis.errors import UserError
from denseclip.apis.images import ChannelOrder, ImageLike, Images, pictures_of
from denseclip.apis.images import Picture as ReadPicture
from denseclip.apis.predictor import Predictor
from denseclip.apis.segmentation import Segmentation, result_names
from denseclip.clip.vocabulary import Vocabulary
from denseclip.runtime.graphs import TextSide, check_vocabulary, session
from denseclip.runtime.label_maps import Box, label_map, window_boxes
from denseclip.runtime.manifest import Manifest, Picture
from denseclip.runtime.resizing import resize_pixels, shrink_pixels
from denseclip.visualization.palette import BACKGROUND_COLOR, distinct_palette

_MAX_ASPECT = 16  # as denseclip.apis.batches: strips are extended until nothing in the network vanishes


def load(folder: str | Path, vocabulary: Any = None, threads: int | None = None) -> RuntimeModel:
    """Open what ``denseclip export`` wrote.

    Args:
        folder: The folder.
        vocabulary: Words of calls without words of their own; None: those that the model came with.
        threads: Threads to compute with; None: as many as onnxruntime likes.

    Raises:
        ImportError: If onnxruntime is not installed.
        UserError: If the folder holds no exported model, one of its files is missing or changed, or the model cannot
            tell these words apart.
    """
    return RuntimeModel(folder, vocabulary, threads)


class RuntimeModel(Predictor):
    """An exported model. Threads may share one: words belong to the call.

    Args:
        folder: See :func:`load`.
        vocabulary: See :func:`load`.
        threads: See :func:`load`.

    Attributes:
        manifest: What the export says of itself.
        own_vocabulary: The words that the model came with.
        vocabulary: The words of calls without words of their own.
    """

    def __init__(self, folder: str | Path, vocabulary: Any = None, threads: int | None = None) -> None:
        folder = Path(folder)
        self.manifest = Manifest.read(folder)
        files = {part: folder / name for part, name in self.manifest.files.items()}
        self.own_vocabulary = Vocabulary.of(self.manifest.vocabulary)
        self.model, self.task = session(files['image'], threads), 'semantic'
        self._text: TextSide | None = None
        self._fixed: np.ndarray | None = None
        if 'embeddings' in files:
            with np.load(files['embeddings'], allow_pickle=False) as content:
                self._fixed = content['embeddings']
        elif self.manifest.words is not None:
            self._text = TextSide(self.manifest.words, files['text'], files['tokenizer'], threads)
        self.vocabulary = self.own_vocabulary if vocabulary is None else Vocabulary.of(vocabulary)
        self._check(self.vocabulary)

    @overload
    def segment(
        self, image: ImageLike, words: Any = None, *, channel_order: ChannelOrder | None = None
    ) -> Segmentation: ...

    @overload
    def segment(
        self, image: Images, words: Any = None, *, channel_order: ChannelOrder | None = None
    ) -> list[Segmentation]: ...

    def segment(self, image: Any, words: Any = None, *, channel_order: ChannelOrder | None = None) -> Any:
        """Segment a picture, or several, as ``denseclip.segment`` does.

        Args:
            image: A file, bytes, a Pillow image or an array (RGB), or a list of them.
            words: What to look for, in any form that ``Vocabulary.of`` knows; None: :attr:`vocabulary`.
            channel_order: ``'bgr'`` for arrays of OpenCV.

        Returns:
            The result in the picture's own size; a list of results for several pictures.

        Raises:
            UnreadableImageError: If a file cannot be read.
            UserError: If it is no picture, or the model cannot tell these words apart.
        """
        pictures, several = pictures_of(image, channel_order)
        vocabulary = self.vocabulary if words is None else Vocabulary.of(words)
        feeds = self._feeds(vocabulary)
        found = [self._segment(picture, vocabulary, feeds) for picture in pictures]
        return found if several else found[0]

    def _find(
        self,
        image: Any,
        words: Any = None,
        *,
        channel_order: ChannelOrder | None = None,
        min_confidence: float | None = None,
        min_area: float | None = None,
    ) -> Any:
        if min_confidence is not None or min_area is not None:
            raise UserError('exported models give no confidences: leave min_confidence and min_area out.')
        return self.segment(image, words, channel_order=channel_order)

    def class_embeddings(self, words: Any = None) -> np.ndarray:
        """Embeddings of words, (K, E) float32; a background with words of its own comes last.

        Raises:
            UserError: If the model has no words, or cannot tell these apart.
        """
        feeds = self._feeds(self.vocabulary if words is None else Vocabulary.of(words))
        if 'text' not in feeds:
            raise UserError(f'{self.manifest.model} has fixed classes and no embeddings of words.')
        return feeds['text']

    def _check(self, vocabulary: Vocabulary) -> None:
        """Refuse words that the model cannot tell apart."""
        if self._text is not None and self.manifest.words is not None:
            check_vocabulary(self.manifest.words, vocabulary)
        elif vocabulary != self.own_vocabulary:
            names = self.own_vocabulary.names
            listed = ', '.join(names[:10]) + (', ...' if len(names) > 10 else '')
            raise UserError(
                f'this export tells apart its own {len(names)} classes only ({listed}); leave the classes out, or '
                'export the model without --classes if its words are free.'
            )

    def _feeds(self, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
        self._check(vocabulary)
        if self._text is not None:
            return {'text': self._text.embeddings(vocabulary)}
        return {} if self._fixed is None else {'text': self._fixed}

    def _segment(self, picture: ReadPicture, vocabulary: Vocabulary, feeds: dict[str, np.ndarray]) -> Segmentation:
        labels = self._labels(picture.rgb, feeds)
        names = result_names(vocabulary)
        palette = np.array(self.manifest.palette, dtype=np.uint8).reshape(-1, 3)
        if vocabulary != self.own_vocabulary or len(palette) != len(names):
            colours = distinct_palette(len(vocabulary))
            palette = colours if len(names) == len(colours) else np.vstack([colours, [BACKGROUND_COLOR]])
        return Segmentation(labels, vocabulary, palette.astype(np.uint8), picture.rgb, picture.source)

    def _labels(self, rgb: np.ndarray, feeds: dict[str, np.ndarray]) -> np.ndarray:
        """Labels in the picture's own size."""
        height, width = rgb.shape[:2]
        steps = self.manifest.picture
        extended = extend(rgb)
        inputs, valid = prepare(extended, steps)
        size = inputs.shape[2], inputs.shape[3]
        boxes = window_boxes(size, steps.crop, steps.stride)
        scores = [
            self.model.run(None, {'images': np.ascontiguousarray(inputs[:, :, t:b, a:z]), **feeds})[0][0]
            for t, b, a, z in boxes
        ]
        return label_map(scores, boxes, size, valid, extended.shape[:2])[:height, :width]


def extend(pixels: np.ndarray) -> np.ndarray:
    """Repeat the lower or right border of strips until they are at most 16 times as long as wide."""
    height, width = pixels.shape[:2]
    shortest = -(-max(height, width) // _MAX_ASPECT)
    below, right = max(0, shortest - height), max(0, shortest - width)
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), mode='edge') if below or right else pixels


def prepare(rgb: np.ndarray, steps: Picture) -> tuple[np.ndarray, Box]:
    """The input of the graph for a picture.

    Returns:
        The input, and the part of it without padding.

    Shape:
        - rgb: :math:`(H, W, 3)`, ``uint8``; result: :math:`(1, 3, h, w)`, float32
    """
    pixels = _resized(rgb, steps)
    if not steps.rgb:
        pixels = pixels[..., ::-1]
    mean, std = (np.array(value, dtype=np.float32) for value in (steps.mean, steps.std))
    planes = ((pixels.astype(np.float32) - mean) / std).transpose(2, 0, 1)
    height, width = planes.shape[1:]
    tall, wide = (-(-side // steps.pad_divisor) * steps.pad_divisor for side in (height, width))
    if steps.pad_size is not None:
        tall, wide = max(tall, steps.pad_size[0]), max(wide, steps.pad_size[1])
    room = ((0, 0), (0, tall - height), (0, wide - width))
    padded = np.pad(planes, room, constant_values=steps.pad_value) if (tall, wide) != (height, width) else planes
    return np.ascontiguousarray(padded)[None], (0, height, 0, width)


def _resized(rgb: np.ndarray, steps: Picture) -> np.ndarray:
    height, width = rgb.shape[:2]
    if steps.resize is None:
        if max(height, width) <= steps.most:
            return rgb
        short = (max(1, round(side * steps.most / max(height, width))) for side in (height, width))
        return shrink_pixels(rgb, _size(short))
    if not steps.keep_ratio:
        return resize_pixels(rgb, (steps.resize[1], steps.resize[0]))
    factor = min(max(steps.resize) / max(height, width), min(steps.resize) / min(height, width))
    return resize_pixels(rgb, _size(max(1, int(side * float(factor) + 0.5)) for side in (height, width)))


def _size(sides: Any) -> tuple[int, int]:
    height, width = sides
    return height, width

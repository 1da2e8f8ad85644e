"""An exported model that segments: pictures and words in, results of the suite out."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from denseclip.apis.confidence import Wishes
from denseclip.apis.images import ChannelOrder, ImageLike, Images, pictures_of
from denseclip.apis.images import Picture as ReadPicture
from denseclip.apis.segmentation import Segmentation, result_names
from denseclip.clip.vocabulary import Vocabulary
from denseclip.runtime.label_maps import label_type, window_boxes
from denseclip.runtime.pictures import extend, prepare
from denseclip.runtime.results import Answer, Asked, Seen, Unrelated, answer
from denseclip.runtime.word_model import RuntimeWordModel, array
from denseclip.structures.word_scores import FEATURES, Calibration, digest
from denseclip.visualization.palette import BACKGROUND_COLOR, distinct_palette


class RuntimeModel(RuntimeWordModel):
    """An exported model that segments by words, see :class:`RuntimeWordModel`.

    Attributes:
        calibration: Makes confidences of what the model sees of a word; None: results have ranks or probabilities.
    """

    task = 'semantic'

    def _begin(self) -> None:
        self._unrelated: Unrelated | None = None
        self.calibration: Calibration | None = None
        file = self.manifest.files.get('unrelated')
        if file is not None:
            words = tuple(map(str, array(self.folder / file, 'words')))
            self._unrelated = Unrelated(words, array(self.folder / file, 'rows').astype(np.float32))
            if self.manifest.scores.calibration is not None:
                self.calibration = Calibration.from_json(self.manifest.scores.calibration, FEATURES, digest(words))

    @overload
    def segment(
        self,
        image: ImageLike,
        classes: Any = None,
        *,
        channel_order: ChannelOrder | None = None,
        min_confidence: float | None = None,
        min_area: float | None = None,
        pixel_scores: bool = False,
        scores: bool = True,
    ) -> Segmentation: ...

    @overload
    def segment(
        self,
        image: Images,
        classes: Any = None,
        *,
        channel_order: ChannelOrder | None = None,
        min_confidence: float | None = None,
        min_area: float | None = None,
        pixel_scores: bool = False,
        scores: bool = True,
    ) -> list[Segmentation]: ...

    def segment(
        self,
        image: Any,
        classes: Any = None,
        *,
        channel_order: ChannelOrder | None = None,
        min_confidence: float | None = None,
        min_area: float | None = None,
        pixel_scores: bool = False,
        scores: bool = True,
    ) -> Any:
        """Segment a picture, or several, as ``denseclip.segment`` does.

        Args:
            image: A file, bytes, a Pillow image or an array (RGB), or a list of them.
            classes: What to look for, in any form that ``Vocabulary.of`` knows; None: :attr:`vocabulary`.
            channel_order: ``'bgr'`` for arrays of OpenCV.
            min_confidence: Classes with a lower score are left out, 0..1; see :class:`Segmentation`.
            min_area: Classes that cover a smaller share of the picture are left out, 0..1.
            pixel_scores: Also give :attr:`Segmentation.pixel_scores`.
            scores: Whether to find out how sure the model is of each class; without, the others cannot be asked for.

        Returns:
            The result in the picture's own size; a list of results for several pictures.

        Raises:
            UnreadableImageError: If a file cannot be read.
            UserError: If it is no picture, a share is not in 0..1, or the model cannot tell these words apart.
        """
        pictures, several = pictures_of(image, channel_order)
        wishes = Wishes(min_confidence, min_area, pixel_scores, scores)
        asked = self._asked(self.vocabulary if classes is None else Vocabulary.of(classes))
        found = [self._segment(picture, asked, wishes) for picture in pictures]
        return found if several else found[0]

    def _find(self, image: Any, *args: Any, **options: Any) -> Any:
        return self.segment(image, *args, **options)

    def _segment(self, picture: ReadPicture, asked: Asked, wishes: Wishes) -> Segmentation:
        wants_pixels = wishes.scores and self._unrelated is not None
        seen = self._look(extend(picture.rgb), asked, wants_pixels)
        found = answer(seen, asked, self.manifest.scores, self._unrelated, self.calibration, wishes)
        return self._segmentation(picture, asked, found)

    def _segmentation(self, picture: ReadPicture, asked: Asked, found: Answer) -> Segmentation:
        """The result for people."""
        height, width = picture.rgb.shape[:2]
        vocabulary, sure = asked.vocabulary, found.confidences
        names = result_names(vocabulary)
        planes = found.pixel_scores
        return Segmentation(
            found.labels[:height, :width].astype(label_type(len(names)), copy=False),
            vocabulary,
            self._palette(vocabulary, names),
            picture.rgb,
            picture.source,
            found.decided_by,
            scores=None if sure is None else sure.scores,
            score_kind=None if sure is None else sure.kind,
            left_out=tuple(names[k] for k in np.flatnonzero(found.left_out)),
            pixel_scores=None if planes is None else planes[:, :height, :width],
            evidence=None if sure is None else sure.evidence,
        )

    def _palette(self, vocabulary: Vocabulary, names: tuple[str, ...]) -> np.ndarray:
        palette = np.array(self.manifest.palette, dtype=np.uint8).reshape(-1, 3)
        if vocabulary != self.own_vocabulary or len(palette) != len(names):
            colours = distinct_palette(len(vocabulary))
            palette = colours if len(names) == len(colours) else np.vstack([colours, [BACKGROUND_COLOR]])
        return palette.astype(np.uint8)

    def _look(self, rgb: np.ndarray, asked: Asked, wants_pixels: bool) -> Seen:
        """Run the graph on every window of a picture (H, W, 3)."""
        steps = self.manifest.picture
        inputs, valid = prepare(rgb, steps)
        size = inputs.shape[2], inputs.shape[3]
        boxes = window_boxes(size, steps.crop, steps.stride)
        feeds = {} if asked.text is None else {'text': asked.text}
        outputs = ['scores', 'pixels'] if wants_pixels else ['scores']
        found = [
            self.model.run(outputs, {'images': np.ascontiguousarray(inputs[:, :, t:b, a:z]), **feeds})
            for t, b, a, z in boxes
        ]
        pixels = [parts[1][0] for parts in found] if wants_pixels else None
        return Seen([parts[0][0] for parts in found], pixels, boxes, size, valid, (rgb.shape[0], rgb.shape[1]))

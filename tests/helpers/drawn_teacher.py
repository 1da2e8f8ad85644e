"""A model that sees what was drawn: results of a picture hang on its pixels alone, nothing is learned."""

import threading

import cv2
import numpy as np
from PIL import Image

from denseclip.apis.detection import Detections
from denseclip.apis.images import pictures_of
from denseclip.apis.panoptic import PanopticSegmentation
from denseclip.apis.predictor import Predictor
from denseclip.apis.segmentation import Segmentation
from denseclip.clip.vocabulary import Vocabulary
from denseclip.visualization.palette import palette_for


def draw_picture(path, seed, size=(40, 56)):
    """A picture file whose pixels are like no other's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def drawn_labels(pixels, classes):
    """A label map with smooth areas, holes and specks; int (H, W)."""
    rng = np.random.default_rng(int(pixels.astype(np.int64).sum()))
    height, width = pixels.shape[:2]
    planes = [
        cv2.resize(rng.random(rng.integers(2, 7, 2)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(classes)
    ]
    labels = np.argmax(planes, axis=0)
    specks = rng.random((height, width)) < 0.02
    return np.where(specks, rng.integers(0, classes, (height, width)), labels)


class DrawnTeacher(Predictor):
    """Semantic, panoptic or instance results of :func:`drawn_labels`.

    Args:
        words: Anything that ``Vocabulary.of`` accepts.
        task: Kind of the results.
        boxes: Instances without masks.
    """

    calibration = None

    def __init__(self, words='road; car; sky', task='semantic', boxes=False):
        self.vocabulary = Vocabulary.of(words)
        self.names = self.vocabulary.names
        self.task, self.boxes, self.model = task, boxes, self
        self.seen, self.runs, self.before = [], [], lambda count: None
        self._lock = threading.Lock()

    def _find(self, image, **options):
        pictures, several = pictures_of(image)
        with self._lock:
            self.before(len(self.seen))
            self.seen += [picture.source for picture in pictures]
            self.runs.append(len(pictures))
        found = [self._result(picture) for picture in pictures]
        return found if several else found[0]

    def labels(self, pixels):
        return drawn_labels(pixels, len(self.vocabulary) + (self.vocabulary.background != 'none'))

    def _result(self, picture):
        labels = self.labels(picture.rgb)
        palette = palette_for(self.names, background=self.vocabulary.background != 'none')
        present = np.unique(labels)
        scores = np.linspace(0.9, 0.5, len(self.names)).astype(np.float32)
        if self.task == 'semantic':
            planes = np.where(labels[None] == np.arange(len(palette))[:, None, None], 0.8, 0.1).astype(np.float32)
            return Segmentation(
                labels.astype(np.uint8),
                self.vocabulary,
                palette,
                picture.rgb,
                picture.source,
                scores=scores,
                score_kind='probability',
                pixel_scores=planes,
            )
        if self.task == 'panoptic':
            info = [{'id': int(k) + 1, 'category_id': int(k), 'isthing': True, 'score': 0.7} for k in present]
            ids = labels.astype(np.int32) + 1
            return PanopticSegmentation.of(ids, info, self.vocabulary, palette, picture.rgb, picture.source)
        masks = np.stack([labels == k for k in present])
        spans = [(np.flatnonzero(m.any(axis=0)), np.flatnonzero(m.any(axis=1))) for m in masks]
        boxes = np.array([[x[0], y[0], x[-1] + 1, y[-1] + 1] for x, y in spans], np.float32)
        return Detections(
            boxes,
            present,
            scores[present],
            None if self.boxes else masks,
            self.names,
            palette,
            picture.rgb,
            picture.source,
        )

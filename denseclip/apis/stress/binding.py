"""Two things whose colours the words swap: is a colour bound to its noun?

Source: the question is that of the concept association bias (Yamada et al., "When are Lemons Purple?", EMNLP 2023).
Asked of pixels: of a red mug beside a blue fish, are the mug's pixels called "red mug" rather than "blue mug"?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from denseclip.apis.images import Picture
from denseclip.apis.stress.loading import Subject
from denseclip.datasets.miniworld.colour_pairs import MEANINGS, colour_pair


def colour_binding(subject: Subject, seed: int, after: Callable[[], None] | None = None) -> dict[str, Any]:
    """Which of four phrases the pixels of drawn things get: two things, each colour with each noun.

    Args:
        subject: The model; as many pictures are drawn as it has pictures.
        seed: Of the drawn pictures.
        after: Called after each picture.

    Returns:
        Percent of the things' pixels by :data:`MEANINGS` (each thing counts the same); ``binding``: of the pixels whose
        noun is right, those whose colour is, too (chance: 50); ``attraction``: of the wrong pixels, those that get the
        other thing's phrase whole.
    """
    shares: Counter[str] = Counter()
    count = len(subject.pictures)
    for index in range(count):
        drawn = colour_pair(seed, index)
        result = subject.model.segment(Picture(drawn.image), list(drawn.phrases), pixel_scores=True)
        assert result.pixel_scores is not None
        best = result.pixel_scores[:4].argmax(axis=0)
        for thing, mask in enumerate(drawn.masks):
            votes = np.bincount(best[mask], minlength=4) / mask.sum()
            for phrase, share in enumerate(votes.tolist()):
                shares[drawn.meaning(phrase, thing)] += 100 * share / (2 * count)
        if after is not None:
            after()
    noun = shares['right'] + shares['other colour']
    wrong = 100 - shares['right']
    return {
        'pictures': count,
        **{name: shares[name] for name in MEANINGS},
        'binding': 100 * shares['right'] / noun if noun else None,
        'attraction': 100 * shares['other thing'] / wrong if wrong > 0 else None,
    }

"""Doubtful and left-out classes in the legend: marked, and named apart."""

import numpy as np

from denseclip.visualization.legend import LegendEntry
from denseclip.visualization.overlay import make_legend, overlay_picture
from denseclip.visualization.palette import distinct_palette

NAMES = ['road', 'sky', 'giraffe', 'piano', 'sea']
LABELS = np.repeat(np.arange(3), 200)[None].repeat(400, axis=0)


def note(doubtful=False, left_out=()):
    entries = [LegendEntry(name, (0, 0, 0), 1 / 3, doubtful and name == 'giraffe') for name in NAMES[:3]]
    return make_legend(entries, NAMES, [0, 1, 2], 14, left_out).note


def test_the_note_says_what_a_mark_means_and_what_was_left_out():
    assert note() == 'not found: piano, sea'
    assert note(doubtful=True) == '?: no better than chance; not found: piano, sea'
    assert note(left_out=['piano']) == 'not found: sea; left out: piano'
    assert note(left_out=['piano', 'sea', 'road']) == 'left out: piano, sea'


def test_a_doubtful_name_has_a_mark():
    assert LegendEntry('giraffe', (0, 0, 0), 0.5, doubtful=True).title == 'giraffe ?'
    assert LegendEntry('giraffe', (0, 0, 0), 0.5).title == 'giraffe'


def test_marks_change_names_alone():
    image = np.full((*LABELS.shape, 3), 100, np.uint8)
    palette = distinct_palette(len(NAMES))
    plain, marked = (
        np.asarray(overlay_picture(image, LABELS, NAMES, palette, tags=False, doubtful=d)) for d in ((), ('giraffe',))
    )
    assert np.array_equal(plain[:, :600], marked[:, :600])  # the picture
    assert not np.array_equal(plain[:, 600:], marked[:, -plain[:, 600:].shape[1] :])

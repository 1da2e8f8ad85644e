"""Overlays: the legend stays outside the picture, any size works, pixels are coloured as told."""

import numpy as np
import pytest
from PIL import Image

from denseclip.visualization.blend import blend, boundaries
from denseclip.visualization.fonts import load_font
from denseclip.visualization.legend import Legend, LegendEntry, format_share
from denseclip.visualization.overlay import MAX_SIDE, overlay_picture
from denseclip.visualization.palette import distinct_palette
from denseclip.visualization.shapes import shorten, text_width, wrap
from denseclip.visualization.tags import widest_spot


def halves(height, width):
    image = np.full((height, width, 3), 100, np.uint8)
    labels = np.zeros((height, width), np.uint8)
    labels[:, width // 2 :] = 1
    return image, labels


def test_blend_mixes_colours_and_leaves_unknown_labels():
    image = np.full((1, 4, 3), 100, np.uint8)
    palette = np.array([[200, 0, 0], [0, 200, 0]], np.uint8)
    result = blend(image, np.array([[0, 1, 255, 1]]), palette, 0.5, fade=1)
    np.testing.assert_array_equal(result[0], [[150, 50, 50], [75, 125, 75], [100, 100, 100], [75, 125, 75]])
    np.testing.assert_array_equal(blend(image, np.zeros((1, 4), int), palette, 0), image)
    with pytest.raises(ValueError, match='opacity'):
        blend(image, np.zeros((1, 4), int), palette, 1.5)


def test_boundaries_are_between_areas():
    _, labels = halves(20, 30)
    line = boundaries(labels, 3)
    assert line[:, 14:16].min() > 0
    assert line[:, :12].max() == line[:, 19:].max() == 0
    assert boundaries(np.zeros((1, 1), int)).max() == 0


@pytest.mark.parametrize('size', [(1, 1), (1, 700), (700, 2), (40, 40), (300, 400), (500, 60)])
@pytest.mark.parametrize('num_classes', [2, 3, 60])
def test_any_size_and_number_of_classes(size, num_classes):
    image, labels = halves(*size)
    labels = (labels + np.arange(labels.size).reshape(size)) % num_classes if num_classes > 3 else labels
    names = [f'class {k}' for k in range(num_classes)]
    picture = overlay_picture(image, labels, names, distinct_palette(num_classes))
    assert picture.mode == 'RGB'
    assert picture.width >= 360 or picture.height >= 360
    assert picture.width > size[1] or picture.height > size[0]


def test_legend_stays_outside_the_picture():
    image, labels = halves(400, 600)
    palette = distinct_palette(2)
    picture = np.asarray(overlay_picture(image, labels, ['left', 'right'], palette, tags=False))
    expected = blend(image, labels, palette)
    np.testing.assert_array_equal(picture[:400, :290], expected[:, :290])
    np.testing.assert_array_equal(picture[:400, 310:600], expected[:, 310:])
    assert (picture[:, 600:] == 255).mean() > 0.5


def test_huge_pictures_are_drawn_smaller():
    image, labels = halves(300, 12_000)
    picture = overlay_picture(image, labels, ['a', 'b'], distinct_palette(2))
    assert picture.width == MAX_SIDE


def test_more_than_256_classes():
    labels = np.full((400, 400), 800, np.int16)
    names = [f'class {k}' for k in range(847)]
    assert overlay_picture(np.zeros((400, 400, 3), np.uint8), labels, names, distinct_palette(847)).height >= 400


def test_sizes_must_agree():
    image, labels = halves(4, 4)
    with pytest.raises(ValueError, match='agree'):
        overlay_picture(image[:3], labels, ['a', 'b'], distinct_palette(2))
    with pytest.raises(ValueError, match='agree'):
        overlay_picture(image, labels, ['a'], distinct_palette(2))


def test_tags_sit_inside_the_largest_area():
    mask = np.zeros((60, 100), bool)
    mask[5:10, 5:10] = True
    mask[20:50, 40:90] = True
    x, y, radius = widest_spot(mask)
    assert mask[y, x]
    assert 13 <= radius <= 17
    assert widest_spot(np.zeros((4, 4), bool))[2] == 0
    assert widest_spot(np.ones((3, 3), bool))[:2] == (1, 1)


def test_text_helpers():
    font = load_font(16)
    assert shorten(font, 'car', 500) == 'car'
    cut = shorten(font, 'a very long class name', 80)
    assert cut.endswith('…')
    assert text_width(font, cut) <= 80
    lines = wrap(font, 'not found: ' + ', '.join(['something'] * 30), 150, max_lines=3)
    assert len(lines) == 3
    assert all(text_width(font, line) <= 150 for line in lines)
    assert wrap(font, '', 50) == []


@pytest.mark.parametrize(
    ('share', 'text'),
    [(0, '0.0 %'), (0.0002, '< 0.1 %'), (0.1234, '12.3 %'), (0.99999, '99.9 %'), (1, '100.0 %')],
)
def test_shares_are_not_rounded_to_all_or_nothing(share, text):
    assert format_share(share) == text


def test_legend_fits_its_size():
    entries = [LegendEntry(f'name {k}' * 9, (200, 30, 30), 0.1) for k in range(5)]
    legend = Legend(entries, 'not found: many other classes ' * 9, 16)
    width, height = legend.size(2)
    canvas = Image.new('RGB', (width + 40, height + 40), 'white')
    legend.draw(canvas, 20, 20, 2, width)
    drawn = np.argwhere(np.asarray(canvas).min(-1) < 250)
    assert drawn.min() >= 20
    assert drawn[:, 0].max() < 20 + height
    assert drawn[:, 1].max() < 20 + width


def test_names_are_not_cut_where_there_is_room(monkeypatch):
    rooms = {}
    note = lambda font, text, room: rooms.update({text: room}) or text  # noqa: E731
    monkeypatch.setattr('denseclip.visualization.legend.shorten', note)
    names = ['sky', 'building facade with windows', 'the pavement next to the road that people walk on', 'background']
    for share in (1.0, 0.123, 0.0002):
        for size in (14, 40):
            legend = Legend([LegendEntry(name, (200, 30, 30), share) for name in names], '', size)
            width, height = legend.size(1)
            legend.draw(Image.new('RGB', (width, height)), 0, 0, 1, width)
            assert all(text_width(load_font(size), name) <= rooms[name] for name in names)


def test_what_was_not_found_is_listed_in_full():
    image, labels = halves(300, 420)
    names = ['left', 'right', *(f'a class with a long name {k}' for k in range(12))]
    notes = []

    def note(font, text, limit, max_lines=3):
        notes.append(wrap(font, text, limit, max_lines))
        return notes[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('denseclip.visualization.legend.wrap', note)
        overlay_picture(image, labels, names, distinct_palette(14))
    assert all('…' not in line for lines in notes[-1:] for line in lines)
    assert 'name 11' in ' '.join(notes[-1])


def test_names_beside_the_border_move_inwards(monkeypatch):
    boxes = []
    monkeypatch.setattr(
        'denseclip.visualization.tags._draw_tag', lambda canvas, box, name, *a: boxes.append((name, box))
    )
    labels = np.zeros((300, 400), np.uint8)
    labels[:, 330:] = 1
    overlay_picture(np.zeros((300, 400, 3), np.uint8), labels, ['sky', 'facade of the building'], distinct_palette(2))
    assert {name for name, _ in boxes} == {'sky', 'facade of the building'}
    assert all(box[0] >= 0 and box[2] <= 400 for _, box in boxes)


def test_font_without_matplotlib(monkeypatch):
    monkeypatch.setattr('denseclip.visualization.fonts.find_spec', lambda _: None)
    load_font.cache_clear()
    assert load_font(20).getlength('sky') > 0
    load_font.cache_clear()

"""Heat maps, outlines and boxes."""

import numpy as np

from denseclip.visualization.anomaly_pictures import Box, boxes_of, draw_boxes, draw_outline, heat_colours, heat_overlay


def test_heat_grows_lighter_and_leaves_usual_areas_alone():
    lightness = heat_colours().astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(lightness) >= -0.7).all() and lightness[-1] > 230 > 10 > lightness[0]
    image = np.full((2, 3, 3), 100, np.uint8)
    found = heat_overlay(image, np.array([[0.0, 0.1, 0.25], [0.5, 0.75, 1.0]]))
    np.testing.assert_array_equal(found[0], image[0])
    assert (found[1] != image[1]).any(axis=1).all() and found.dtype == np.uint8


def test_boxes_come_highest_first_without_specks():
    scores = np.zeros((200, 200))
    scores[10:20, 30:60], scores[100:150, 5:8], scores[180, 180] = 0.7, 0.9, 1.0
    boxes = boxes_of(scores > 0.5, scores)
    assert [(b.x, b.y, b.width, b.height, b.score) for b in boxes] == [(5, 100, 3, 50, 0.9), (30, 10, 30, 10, 0.7)]
    assert boxes_of(scores > 2, scores) == []


def test_an_outline_stays_at_the_border():
    mask = np.zeros((30, 30), bool)
    mask[5:25, 5:25] = True
    image = draw_outline(np.full((30, 30, 3), 90, np.uint8), mask)
    assert (image[5, 5:25] == 255).all() and (image[10:20, 10:20] == 90).all() and (image[0] == 90).all()


def test_a_box_is_drawn_around_its_area():
    image = draw_boxes(np.full((30, 40, 3), 90, np.uint8), [Box(10, 5, 20, 12, 0.9)])
    assert (image[5, 10:30] == 255).all() and (image[16, 10:30] == 255).all() and (image[5:17, 29] == 255).all()
    assert (image[8:14, 13:27] == 90).all() and (image[4, 10:30] == 0).all()

"""COCO's coding of segment ids as colours."""

import numpy as np
from PIL import Image

from denseclip.structures.panoptic import MAX_ID, ids_of_picture, ids_to_rgb, rgb_to_ids


def test_colours_are_ids_whatever_the_alpha():
    ids = np.random.default_rng(0).integers(0, MAX_ID + 1, (5, 7))
    ids[0, :3] = 0, 255, MAX_ID
    colours = ids_to_rgb(ids)
    assert colours[0, 1].tolist() == [255, 0, 0] and (rgb_to_ids(colours) == ids).all()
    image = Image.fromarray(colours)
    glass = image.convert('RGBA')
    glass.putalpha(3)
    for picture in (image, glass):
        assert ids_of_picture(picture).dtype == np.int64 and (ids_of_picture(picture) == ids).all()

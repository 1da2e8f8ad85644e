"""Which label map belongs to which picture."""

from pathlib import Path

import pytest

from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data.endings import divide_one_folder, match


def paths(*names: str) -> dict[str, Path]:
    return {Path(name).stem: Path('x', name) for name in names}


@pytest.mark.parametrize(
    ('pictures', 'labels'),
    [
        (['a.jpg', 'b.jpg'], ['a.png', 'b.png']),
        (['a.jpg', 'a1.jpg', 'a10.jpg'], ['a.png', 'a1.png', 'a10.png']),
        (['a.jpg', 'a_1.jpg'], ['a_mask.png', 'a_1_mask.png']),
        (['a.jpg', 'b.jpg'], ['a_whatever.png', 'b_whatever.png']),
        (['IMG_1.JPG', 'IMG_2.JPG'], ['img_1.png', 'img_2.png']),
        (['image_1.jpg', 'image_2.jpg'], ['mask_1.png', 'mask_2.png']),
        (['1_sat.jpg', '2_sat.jpg'], ['1_mask.png', '2_mask.png']),
        (['x_leftImg8bit.png', 'y_leftImg8bit.png'], ['x_gtFine_labelIds.png', 'y_gtFine_labelIds.png']),
        (['a.b.jpg', 'a.c.jpg'], ['a.b_L.png', 'a.c_L.png']),
        (['a.jpg', 'b.jpg'], ['a.jpg.png', 'b.jpg.png']),
    ],
)
def test_pairs(pictures: list[str], labels: list[str]) -> None:
    found = match(paths(*pictures), paths(*labels))
    assert [(p.picture.name, p.label.name) for p in found.pairs] == list(zip(pictures, labels, strict=True))
    assert not found.orphans


def test_what_is_left_over() -> None:
    found = match(paths('a.jpg', 'b.jpg', 'c.jpg'), paths('a_mask.png', 'b_mask.png', 'b2_mask.png', 'z_mask.png'))
    assert [p.label.name for p in found.pairs] == ['a_mask.png', 'b_mask.png', 'c_mask.png']
    assert [path.name for path in found.orphans] == ['b2_mask.png', 'z_mask.png']


def test_kinds_of_label_maps_beside_each_other() -> None:
    labels = [f'{name}_gtFine_{kind}.png' for name in 'ab' for kind in ('color', 'instanceIds', 'labelIds')]
    found = match(paths('a_leftImg8bit.png', 'b_leftImg8bit.png'), paths(*labels))
    assert {p.label.name for p in found.pairs} == {'a_gtFine_labelIds.png', 'b_gtFine_labelIds.png'}
    assert not found.orphans
    with pytest.raises(ConversionError, match='NAME_one and NAME_two could all be the label maps'):
        match(paths('a.jpg'), paths('a_one.png', 'a_two.png'))
    with pytest.raises(ConversionError, match='none of the label maps has the name of a picture'):
        match(paths('a.jpg'), paths('b.png'))


def test_one_folder_for_both() -> None:
    pictures, labels = divide_one_folder(paths('a.jpg', 'a_mask.png', 'b_gt.jpg', 'c_sat.jpg', 'c_mask.png'))
    assert sorted(pictures) == ['a', 'b_gt', 'c_sat'] and sorted(labels) == ['a_mask', 'c_mask']
    both = [(Path('x/a.jpg'), Path('x/a.png')), (Path('x/b.jpg'), Path('x/b.png'))]
    pictures, labels = divide_one_folder(paths('a.jpg', 'b.jpg'), both)
    assert [path.name for path in labels.values()] == ['a.png', 'b.png']
    assert divide_one_folder(paths('a.jpg', 'b.jpg', 'c.jpg'), both)[1] == {}

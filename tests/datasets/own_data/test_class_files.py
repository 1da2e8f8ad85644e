"""Files that say what ids and colours of label maps mean."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseclip.datasets.converters import ConversionError
from denseclip.datasets.files import UnreadableFileError
from denseclip.datasets.own_data.class_files import by_line, find_class_file, listed_first


@pytest.mark.parametrize(
    ('name', 'text', 'names', 'colours'),
    [
        ('labelmap.txt', '# label:color_rgb:parts:actions\na b:1,2,3::\nc:d:4,5,6::x\n', {0: 'a b', 1: 'c:d'}, True),
        ('labelmap.txt', '\ufeffa: 1, 2, 3\r\nc: 4, 5, 6\r\n', {0: 'a', 1: 'c'}, True),
        ('label_colors.txt', '1 2 3\ta b\n4 5 6 c\n', {0: 'a b', 1: 'c'}, True),
        ('class_dict.csv', 'name,r,g,b\na b, 1, 2, 3\nc,4,5,6\n', {0: 'a b', 1: 'c'}, True),
        ('_classes.csv', 'Pixel Value, Class\n0, ground\n7, a, b\n', {0: 'ground', 7: 'a, b'}, False),
        ('class_names.txt', '__ignore__\n_background_\nfir\n', {0: 'background', 1: 'fir'}, False),
        ('class_names.txt', '_background_\nfir\n__ignore__\noak\n', {0: 'background', 1: 'fir', 3: 'oak'}, False),
        ('codes.txt', 'Animal\nVoid\n', {0: 'Animal', 1: 'Void'}, False),
    ],
)
def test_what_is_said(tmp_path: Path, name: str, text: str, names: dict[int, str], colours: bool) -> None:
    (tmp_path / name).write_bytes(text.encode())
    found = find_class_file(tmp_path)
    assert found is not None and found.names == names
    assert found.colours == ({(1, 2, 3): 0, (4, 5, 6): 1} if colours else {})


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('a:1,2,3::\nb:1,2,3::\n', r'two classes have the colour \(1, 2, 3\)'),
        ('a:1,2,3::\na:4,5,6::\n', 'two classes have the name a'),
        ('a:1,2,3::\nb\n', "line 2: 'b' is no name with three numbers"),
        ('a:1,2,300::\n', 'numbers from 0 to 255'),
        ('# nothing\n', 'names no class'),
        (b'\xff\xfea\n', 'is no UTF-8 text'),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    (tmp_path / 'labelmap.txt').write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises((ConversionError, UnreadableFileError), match=rf'labelmap\.txt.*{said}'):
        find_class_file(tmp_path)


def test_lists_that_do_not_say_where_they_begin_are_not_read(tmp_path: Path) -> None:
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    assert find_class_file(tmp_path) is None


@given(st.text(min_size=1).map(str.strip).filter(lambda t: t and t[0] != '#' and t.isprintable()))
def test_any_name_comes_back(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp('own')
    (folder / 'labelmap.txt').write_text(f'{name}:1,2,3::\n', encoding='utf-8')
    found = find_class_file(folder)
    assert found is not None and found.names == {0: name}


def test_a_blank_line_never_moves_the_ids_behind_it(tmp_path: Path) -> None:
    path = tmp_path / 'classes.txt'
    path.write_text('cat \n dog\n\n \n')
    assert by_line(path) == ['cat', 'dog']
    path.write_text('cat\n\ndog\n')
    with pytest.raises(ConversionError, match=r'classes\.txt: line 2 is blank'):
        by_line(path)
    (tmp_path / 'class_names.txt').write_text('_background_\nfir\n\noak\n')
    with pytest.raises(ConversionError, match=r'class_names\.txt: line 3 names no class'):
        find_class_file(tmp_path)


@pytest.mark.parametrize('name', ['classes.txt', 'labels.txt'])
def test_a_list_beside_the_data_says_the_order(tmp_path: Path, name: str) -> None:
    assert listed_first(tmp_path, {'sky', 'bus'}) == (['bus', 'sky'], [])
    (tmp_path / name).write_text('__ignore__\n_background_\nsky\ncar\n')
    assert listed_first(tmp_path, {'sky', 'bus'}) == (
        ['sky', 'car', 'bus'],
        [f'order of the classes from {tmp_path / name}'],
    )
    assert listed_first(tmp_path, {'bus'}) == (['bus'], [])  # a list of something else

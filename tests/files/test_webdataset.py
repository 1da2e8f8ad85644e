"""Names of samples and lists of shards, as WebDataset and shells read them."""

import pytest

from denseclip.files.webdataset import key_and_ending, spelled_out, whole_stem


@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('000.jpg', ('000', 'jpg')),
        ('./000.JPG', ('000', 'jpg')),
        ('a.b/c.seg.png', ('a.b/c', 'seg.png')),
        ('a/b\nc.png', ('a/b\nc', 'png')),
        ('a\n/b.png', ('a\n/b', 'png')),
        ('b.', ('b', '')),
        ('IMG.0001.png', ('IMG.0001', 'png')),
        ('d/scan 2021.05.01.PNG', ('d/scan 2021.05.01', 'png')),
        ('a.0001', ('a', '0001')),
        ('a.01.seg.png', ('a.01', 'seg.png')),
        ('a.v2-final.png', ('a', 'v2-final.png')),
        ('.hidden.png', None),
        ('a/._b.png', None),
        ('README', None),
        ('a.b/README', None),
    ],
)
def test_key_and_ending(name, found):
    assert key_and_ending(name) == found


@pytest.mark.parametrize('name', ['J. Smith.png', 'd.e/a.v2-final.PNG', './x.png'])
def test_whole_stem(name):
    stem, ending = whole_stem(name)
    assert (stem + name[-4:], ending) == (name.removeprefix('./'), 'png')


@pytest.mark.parametrize(
    ('pattern', 'names'),
    [
        ('a.tar', ['a.tar']),
        ('{08..11}.tar', ['08.tar', '09.tar', '10.tar', '11.tar']),
        ('{8..10}', ['8', '9', '10']),
        ('{2..0}', ['2', '1', '0']),
        ('{0..1}/x-{00..01}.tar', ['0/x-00.tar', '0/x-01.tar', '1/x-00.tar', '1/x-01.tar']),
        ('{a..b}{1..}', ['{a..b}{1..}']),
    ],
)
def test_ranges(pattern, names):
    assert list(spelled_out(pattern)) == names

"""Which form of a result a request gets."""

from __future__ import annotations

import pytest

from denseclip.serving.answers import wanted_format
from denseclip.serving.problems import Problem

PICTURE = 'labels'


@pytest.mark.parametrize(
    ('accept', 'expected'),
    [
        ('', None),
        ('*/*', None),
        ('image/png, application/json', PICTURE),
        ('application/json, image/png', None),
        ('application/json;q=0.5, image/png', PICTURE),
        ('image/png;q=0.2, application/json;q=0.9', None),
        ('image/png, */*', PICTURE),
        ('IMAGE/PNG; Q=1.0, */*;q=0.1', PICTURE),
        ('image/avif, image/webp, image/*;q=0.8, */*;q=0.5', PICTURE),
        ('application/json;q=0, image/png;q=0.001', PICTURE),
        ('image/png;q=much, application/json', PICTURE),
    ],
)
def test_what_is_wanted_most_is_given(accept, expected):
    found = wanted_format(None, accept, 'semantic')
    assert (found and found.name) == expected


@pytest.mark.parametrize('accept', ['text/html', 'application/json;q=0', ';q=1'])
def test_what_cannot_be_given_is_told(accept):
    with pytest.raises(Problem) as problem:
        wanted_format(None, accept, 'semantic')
    assert problem.value.status_code == 406

"""Modules from configs or as they are."""

import pytest
from torch import nn

from denseclip.models.builder import build_module


def test_a_module_is_taken_as_it_is():
    module = nn.Identity()
    assert build_module(module) is module


def test_host_and_suite_modules_build_by_plain_name():
    neck = build_module(dict(type='FPN', in_channels=[4, 8], out_channels=4, num_outs=2))
    assert type(neck).__module__.startswith('mmseg')
    assert type(build_module(dict(type='ContextDecoder', visual_dim=8))).__module__.startswith('denseclip')


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match="got str: 'FPN'"):
        build_module('FPN')

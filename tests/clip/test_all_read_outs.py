"""Every architecture of open_clip, shrunk: its read-outs are those of the documentation, and wide pictures work."""

from __future__ import annotations

import json

import open_clip
import pytest
import torch
from read_outs import READ_OUTS, affinity, dense_by_timm, is_timm
from shrunk_clips import shrunk_clip, shrunk_config

from denseclip.clip.towers import FIXED_SIZE, DenseReadOut, build_image_tower
from studies.tower_read_outs import BEGIN, END, PAGE, table


def test_a_row_of_the_table():
    documented = PAGE.read_text(encoding='utf-8').split(BEGIN)[1].split(END)[0].strip().splitlines()
    for line in table(['RN50', 'ViT-B-16-SigLIP2']).splitlines()[2:]:
        assert line in documented


@pytest.mark.slow
def test_the_whole_table():
    assert table() == PAGE.read_text(encoding='utf-8').split(BEGIN)[1].split(END)[0].strip()


@torch.no_grad()
def check(architecture: str) -> None:
    """Read-outs of timm's trunks at their own size by timm's code, and all that are not refused on 16:9."""
    visual = shrunk_clip(shrunk_config(architecture)).visual
    for name, settings in READ_OUTS.items():
        try:
            tower = build_image_tower(visual, DenseReadOut(pos_resize='bicubic', antialias=True, **settings))
        except ValueError:
            continue
        height, width = tower.multiple
        external = settings['attention'] == 'external'
        if architecture not in FIXED_SIZE:
            wide = torch.randn(1, 3, 9 * height, 16 * width)
            assert tower(wide, affinity((9, 16)) if external else None).dense.shape[2:] == (9, 16), name
        pooled = settings['attention'] == 'value' and getattr(getattr(visual, 'trunk', None), 'attn_pool', None)
        if is_timm(visual) and not pooled:
            size = tuple(visual.trunk.patch_embed.img_size)
            grid = (size[0] // height, size[1] // width)
            images = torch.randn(1, 3, *size)
            guide = affinity(grid) if external else None
            wanted = dense_by_timm(visual, images, settings, grid, guide)
            found = tower(images, guide).dense.flatten(2).transpose(1, 2)
            torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3, msg=f'{architecture}: {name}')


@pytest.mark.slow
def test_all():
    kinds = {json.dumps(shrunk_config(name)['vision_cfg'], sort_keys=True): name for name in open_clip.list_models()}
    for architecture in kinds.values():
        check(architecture)

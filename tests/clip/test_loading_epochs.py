"""Weights of the epoch that a tag names, where open_clip's table points to another one's folder."""

import pytest
from open_clip import pretrained as tags

from denseclip.clip import finding
from denseclip.clip.finding import _download


@pytest.mark.parametrize(
    ('model', 'tag', 'hub'),
    [
        ('ViT-B-16-plus-240', 'laion400m_e31', True),
        ('ViT-B-16-plus-240', 'laion400m_e32', False),
        ('ViT-B-16', 'openai', True),
    ],
)
def test_the_release_file_is_taken_where_the_hub_has_another_epoch(model, tag, hub, monkeypatch):
    entry = tags.get_pretrained_cfg(model, tag)
    asked = {}
    monkeypatch.setattr(finding, '_is_here_or_reachable', lambda *_: True)
    monkeypatch.setattr(tags, 'download_pretrained', lambda cfg, **how: asked.update(how, cfg=cfg) or 'weights.pt')
    assert str(_download(model, tag, entry, None)) == 'weights.pt'
    assert asked['cfg'] is entry
    names_epoch = '_e' in tag and tag.rsplit('_e', 1)[1] in entry['hf_hub']
    assert asked['prefer_hf_hub'] is hub and (hub or not names_epoch)

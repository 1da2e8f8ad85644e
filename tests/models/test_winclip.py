"""WinCLIP: windows through the transformer, maps, reference pictures."""

import pytest
import torch
from tiny_anomaly import SIDE, pictures, tiny_clip, tiny_model


def test_a_window_is_the_transformer_on_its_patches_alone():
    model = tiny_model('WinCLIP')
    images = pictures(2)
    with torch.no_grad():
        features = model.embed(images)
        x, grid = model.image_tower.embed(images)
        # The window of side 2 whose first patch is (1, 2), in a grid of 4 x 4: number 1 * 3 + 2.
        kept = [0, *(1 + r * grid[1] + c for r in (1, 2) for c in (2, 3))]
        tokens = x[:, kept]
        for block in model.image_tower.visual.transformer.resblocks:
            tokens = block(tokens)
        expected = model.image_tower.pool(tokens)
    assert features.windows[2].shape == (2, 9, 8) and features.windows[3].shape == (2, 4, 8)
    assert torch.allclose(features.windows[2][:, 5], expected, atol=1e-5)
    assert torch.allclose(features.pooled, model.image_tower(images).pooled, atol=1e-5)


def test_predictions_do_not_depend_on_the_batch_or_the_pass():
    images = pictures(4, SIDE, SIDE + 16)
    together = tiny_model('WinCLIP').predict(images)
    few = tiny_model('WinCLIP', windows_per_pass=2)
    for index, result in enumerate(together):
        alone = tiny_model('WinCLIP').predict(images[index : index + 1])[0]
        assert torch.equal(alone.anomaly_map.data, result.anomaly_map.data) and alone.pred_score == result.pred_score
        passed = few.predict(images[index : index + 1])[0]
        assert torch.allclose(passed.anomaly_map.data, result.anomaly_map.data, atol=1e-5)
        assert result.anomaly_map.shape == (SIDE, SIDE + 16) and 0 < result.pred_score < 1


def test_references_pull_known_pictures_down():
    model = tiny_model('WinCLIP')
    images = pictures(2)
    before = model.predict(images)
    model.set_references(images[:1])
    known, unknown = model.predict(images)
    assert torch.allclose(known.anomaly_map.data, before[0].anomaly_map.data / 2, atol=1e-3)
    assert unknown.anomaly_map.data.mean() > known.anomaly_map.data.mean()
    model.set_references(images[[0, 0]])
    assert len(model.references.pooled) == 1, 'equal pictures count once'
    model.set_references(None)
    assert torch.equal(model.predict(images)[0].anomaly_map.data, before[0].anomaly_map.data)


def test_a_tower_with_an_attentional_pooler():
    """CoCa: its last norm belongs behind the pooler, and has another size than the tokens."""
    model = tiny_model('WinCLIP', tiny_clip(attentional_pool=True, attn_pooler_heads=2))
    images = pictures(2, SIDE, SIDE + 16)
    with torch.no_grad():
        features, out = model.embed(images), model.image_tower(images)
    assert torch.allclose(features.pooled, out.pooled, atol=1e-5)
    assert features.patches.shape == (2, 24, 8)
    model.set_references(images[:1])
    assert 0 < model.predict(images)[1].pred_score < 1


def test_pictures_smaller_than_a_window_are_refused():
    with pytest.raises(ValueError, match='no window of 3x3'):
        tiny_model('WinCLIP').predict(pictures(1, 16, 32))

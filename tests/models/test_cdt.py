"""Content-dependent transfer: what its two variants promise."""

from __future__ import annotations

import pytest
import torch

from denseclip.models.builder import build_module
from denseclip.models.heads.cdt import VARIANTS, ContentDependentTransfer


def transfer(variant: str = 'semantic', seed: int = 0) -> ContentDependentTransfer:
    torch.manual_seed(seed)
    return build_module(dict(type='ContentDependentTransfer', embed_dim=16, num_heads=4, variant=variant)).eval()


@pytest.mark.parametrize('variant', VARIANTS)
def test_further_classes_change_nothing_for_the_others(variant: str) -> None:
    model = transfer(variant)
    torch.nn.init.normal_(model.linear.weight)
    text, pixels = torch.randn(7, 16), torch.randn(2, 16, 3, 5)
    torch.testing.assert_close(model(text, pixels)[:, :4], model(text[:4], pixels), atol=1e-5, rtol=1e-5)
    swapped = model(text.flip(0), pixels).flip(1)
    torch.testing.assert_close(swapped, model(text, pixels), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('variant', VARIANTS)
def test_each_picture_has_text_of_its_own(variant: str) -> None:
    model = transfer(variant)
    torch.nn.init.normal_(model.linear.weight)
    text, pixels = torch.randn(3, 16), torch.randn(2, 16, 4, 4)
    both = model(text, pixels)
    torch.testing.assert_close(both[1:], model(text, pixels[1:]), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(both[0], both[1])


def test_the_panoptic_variant_starts_as_the_identity_and_the_semantic_one_does_not() -> None:
    text, pixels = torch.nn.functional.normalize(torch.randn(3, 16), dim=-1), torch.randn(1, 16, 4, 4)
    assert torch.equal(transfer('panoptic')(text, pixels)[0], text)
    changed = transfer('semantic')(text, pixels)[0]
    torch.testing.assert_close(changed.norm(dim=-1), torch.full((3,), 4.0), atol=1e-3, rtol=1e-3)  # sqrt(16)


def test_weights_of_one_variant_do_not_fit_the_other() -> None:
    with pytest.raises(RuntimeError, match='update_norm'):
        transfer('semantic').load_state_dict(transfer('panoptic').state_dict())


@pytest.mark.parametrize('options', [dict(variant='instance'), dict(num_heads=5), dict(embed_dim=18, num_heads=9)])
def test_wrong_settings_are_named(options: dict) -> None:
    with pytest.raises(ValueError, match=r'variant|num_heads'):
        ContentDependentTransfer(**{'embed_dim': 16, **options})

"""Every kind of DenseCLIP under fake CUDA tensors, on ``meta``, and in bfloat16 on the CPU."""

import pytest
from device_safety import check_bf16, check_segmentor
from tiny_models import BACKBONES, tiny_baseline, tiny_denseclip

KINDS = {
    'resnet': dict(),
    'resnet-slide': dict(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(43, 43))),
    'resnet-pre': dict(prompting='pre'),
    'resnet-no-prompting': dict(prompting='none', num_contexts=0),
    'vit': dict(backbone='vit'),
    'any-open': dict(backbone='any', open_vocabulary=True, synonym_sampling=True, vocabulary='wall; sky=heaven; bus'),
}


@pytest.mark.parametrize('kind', KINDS)
def test_fake_cuda_and_meta(kind):
    check_segmentor(lambda: tiny_denseclip(**KINDS[kind]), size=(64, 96))


@pytest.mark.parametrize('kind', ['resnet', 'vit', 'any-open'])
def test_bf16_on_the_cpu_is_finite(kind):
    check_bf16(lambda: tiny_denseclip(**KINDS[kind]))


@pytest.mark.parametrize('backbone', BACKBONES)
def test_baselines_without_text(backbone):
    check_segmentor(lambda: tiny_baseline(backbone))

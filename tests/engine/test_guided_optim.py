"""Groups of the optimizer for a model with a prompt guide."""

import torch
from mmengine.optim import build_optim_wrapper
from tiny_pmp_hosts import tiny_host


def test_gates_and_biases_of_the_guide_do_not_decay() -> None:
    model = tiny_host()
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            constructor='PromptGuideOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
            paramwise_cfg=dict(backbone_lr_mult=0.1),
        ),
    )
    decay = {id(p): group['weight_decay'] for group in wrapper.optimizer.param_groups for p in group['params']}
    rate = {id(p): group['lr'] for group in wrapper.optimizer.param_groups for p in group['params']}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert set(decay) == {id(p) for p in trained.values()}
    guide = model.prompt_guide
    layer = guide.layers['0']
    for without in (layer.gamma, layer.norm.weight, layer.attn.in_proj_bias, layer.attn.out_proj.bias, guide.proj.bias):
        assert decay[id(without)] == 0
    for kept in (layer.attn.in_proj_weight, layer.attn.out_proj.weight, guide.proj.weight):
        assert (decay[id(kept)], rate[id(kept)]) == (0.05, 1e-3)
    host = model.head.decoder.layers[0].feed_forward.linear1
    assert isinstance(host.bias, torch.nn.Parameter) and decay[id(host.bias)] == 0.05  # as the host wants it

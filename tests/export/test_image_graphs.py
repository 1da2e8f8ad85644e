"""Every kind of model and every read-out is the same as a graph, at sizes that its example did not have."""

from __future__ import annotations

import pytest
from tiny_dinoiser import CLIP, tiny_dinoiser, tiny_maskclip_plus
from tiny_models import DECODER, tiny_denseclip
from tiny_open_vocab import TINY_DINO, tiny_open_vocab
from torch import nn

from denseclip.export import ExportError, capability
from denseclip.export.capabilities import WAYS
from denseclip.export.checks import check_image_graph
from denseclip.export.graphs import write_image_graph
from denseclip.export.image_graphs import ImageGraph
from denseclip.export.substitutes import ready_for_export
from denseclip.models.functional.affinity import semantic_prior

pytestmark = pytest.mark.slow
PRESETS = ['maskclip', 'naclip', 'gem', 'cliptrase']
"""One of each kind of attention whose scores do not jump."""


def read_out(name):
    """Fewer blocks than the paper's: every one of them takes its time."""
    return dict(layers=1) if name == 'gem' else None


def shallow(name, **settings):
    return tiny_open_vocab(name, layers=1, read_out=read_out(name), **settings)


def agree(model, tmp_path):
    """Write the graph and compare it."""
    model.eval()
    able = capability(model)
    assert able.exportable, able.reason
    words = able.way.words(model).words()
    path, size = tmp_path / 'image.onnx', (words.embed_dim, words.classes)
    write_image_graph(able.way.graph(ready_for_export(model)), path, *size)
    assert check_image_graph(path, able.way.graph(model).eval(), *size) < 1e-4


class Together(ImageGraph):
    """Several models as one graph: making one costs more than what is in it."""

    def __init__(self, graphs) -> None:
        super().__init__(None)
        self.graphs = nn.ModuleList(graphs)
        self.outputs = tuple(f'{name}_{k}' for k, graph in enumerate(graphs) for name in graph.outputs)

    def forward(self, images, text):
        return tuple(part for graph in self.graphs for part in graph(images, text))


def test_every_read_out(tmp_path):
    models, path = [shallow(name).eval() for name in PRESETS], tmp_path / 'image.onnx'
    able = [capability(model) for model in models]
    assert all(one.exportable for one in able), [one.reason for one in able]
    size = models[0].text.tower.embed_dim, None
    assert not any(one.way.graph(model).jumps for one, model in zip(able, models, strict=True))
    ready = [one.way.graph(ready_for_export(model)) for one, model in zip(able, models, strict=True)]
    write_image_graph(Together(ready), path, *size)
    own = Together([one.way.graph(model) for one, model in zip(able, models, strict=True)])
    assert check_image_graph(path, own.eval(), *size) < 1e-4


def test_a_read_out_of_another_network(tmp_path):
    agree(shallow('proxyclip', affinity=dict(dino={**TINY_DINO, 'depth': 1})), tmp_path)


def test_the_attention_pool_of_a_resnet(tmp_path):
    agree(tiny_open_vocab('clip', model='RN50'), tmp_path)


@pytest.mark.parametrize(('backbone', 'open_vocabulary'), [('vit', False)])
def test_denseclip(backbone, open_vocabulary, tmp_path):
    decoder = {**DECODER, 'transformer_layers': 1}
    agree(tiny_denseclip(backbone, open_vocabulary, context_decoder=decoder), tmp_path)


def dinoiser():
    arch = {**CLIP['arch'], 'vision_cfg': {**CLIP['arch']['vision_cfg'], 'layers': 3}}
    return tiny_dinoiser(teachers=False, clip={**CLIP, 'arch': arch})


@pytest.mark.parametrize('make', [dinoiser, tiny_maskclip_plus])
def test_methods_that_learn(make, tmp_path):
    agree(make(), tmp_path)


class Walks(ImageGraph):
    """What of ResCLIP cannot be a graph, on labels of a few patches; its towers are in other graphs."""

    def forward(self, images, text):
        return (semantic_prior(images[:, 0, ::128, ::128] > 0) * text.sum(),)


def test_resclip_cannot_be_a_graph(tmp_path):
    """Its walks between patches take as many steps as there are patches: a graph has those of its example."""
    assert not capability(tiny_open_vocab('resclip')).exportable
    path = tmp_path / 'image.onnx'
    with pytest.raises(ExportError):
        write_image_graph(Walks(None), path, 16, None)
        check_image_graph(path, Walks(None), 16, None)


def test_settings_that_the_runtime_does_not_follow_are_refused():
    refined = tiny_open_vocab('maskclip', post=dict(prompt_denoising=0.5))
    assert 'post=...' in capability(refined).reason
    spectral = tiny_open_vocab('cass', post=dict(presence=None))
    assert 'pairs heads' in capability(spectral).reason
    rule = tiny_dinoiser(teachers=False, background_rule=True)
    assert 'background rule' in capability(rule).reason
    assert set(WAYS) >= {type(refined).__name__, type(rule).__name__}

"""Mask generators that listen to the words, exported: the classes of a call are an input, as many as there are."""

from __future__ import annotations

import pytest
import torch
from tiny_pmp_hosts import awake_host, tiny_host

from denseclip.export import capability
from denseclip.runtime.graphs import class_prompts


@pytest.mark.parametrize('host', ['FCCLIP', 'MAFTPlus', 'OVSeg'])
def test_prompts_of_a_graph_are_those_of_the_model(host):
    """Names become rows, classes prompts: the masks are those of the model with its words."""
    model = awake_host(host)
    graph, images = capability(model).way.graph(model), torch.randn(2, 3, 64, 96)
    text = model.text()
    prompts = torch.from_numpy(class_prompts(text.embeddings.numpy(), text.class_index.tolist()))
    with torch.no_grad():
        features = model.backbone(images)
        wanted = (model.propose_from if host == 'OVSeg' else model.propose)(features).mask_logits
        torch.testing.assert_close(graph(images, text.embeddings, prompts)[0], wanted)
        assert not torch.equal(graph(images, text.embeddings, prompts[:1])[0], wanted)
    assert 'query_guide' not in vars(model)


@pytest.mark.parametrize(
    ('prompts', 'says'), [(dict(inference='per_prompt'), 'runs once for some classes'), (dict(tokens='word'), 'pieces')]
)
def test_what_graphs_are_not_given_is_a_reason(prompts, says):
    found = capability(tiny_host('FCCLIP', prompts=prompts))
    assert not found.exportable
    assert says in found.reason


def test_classes_chosen_for_each_picture_are_a_reason():
    model = tiny_host('FCCLIP', guided=False)
    assert capability(model).exportable
    model.active_vocabulary = 'dense'
    assert 'chooses the classes of each picture' in capability(model).reason

"""Descriptions of classes against the numbers of three papers' code."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from denseclip.clip.descriptions import described, differential_sentences
from denseclip.models.functional.descriptions import (
    description_scores,
    discriminative_selection,
    filled_selection,
    follow_up_scores,
    weighted_scores,
)

from .fixtures import Fixture
from .registry import consumes


@consumes('descriptions', 'classify_by_description')
def check_description(fixture: Fixture) -> None:
    """Sentences from descriptors, and scores by mean, maximum and sum."""
    config, data = fixture.config, fixture.manifest['data']
    made = {
        name: described(
            name,
            listed,
            before=config['before_text'],
            between=config['between_text'],
            after=config['after_text'],
            order=config['category_name_inclusion'] or 'none',
            clauses=config['apply_descriptor_modification'],
            as_released=True,
        )
        for name, listed in data['descriptors'].items()
    }
    assert made == data['sentences']
    for name, listed in data['descriptors'].items():
        assert dict(zip(made[name], listed or [''], strict=True)) == data['original_of_sentence'][name]
    images = F.normalize(fixture.input('image_features'), dim=-1)
    cosines = images @ F.normalize(fixture.input('sentence_embeddings'), dim=-1).T
    fixture.expect('per_sentence', cosines)
    for how in ('mean', 'max', 'sum'):
        index, count = fixture.input('class_of_sentence'), len(config['classes'])
        fixture.expect(f'scores_{how}', description_scores(cosines, index, count, how))
    fixture.expect('scores_label_only', images @ F.normalize(fixture.input('label_embeddings'), dim=-1).T)


@consumes('descriptions', 'fudd')
def check_follow_up(fixture: Fixture) -> None:
    """The likely classes of each picture, told apart by the sentences of their pairs."""
    config, data = fixture.config, fixture.manifest['data']
    names, pairs, template = config['classes'], data['prompt_pairs'], config['default_template']
    rows = F.normalize(fixture.input('sentence_embeddings'), dim=-1)
    place = dict(zip(data['sentences_in_order_of_rows'], rows, strict=True))
    images = F.normalize(fixture.input('image_features'), dim=-1)

    def vectors(classes: list[int], listed_only: bool = False) -> list[torch.Tensor]:
        sentences = differential_sentences(classes, names, pairs, template, listed_only)
        return [torch.stack([place[text.capitalize()] for text in listed]) for listed in sentences]

    plain = [place[template.format(name.replace('_', ' ')).capitalize()][None] for name in names]
    first = follow_up_scores(images, plain)
    fixture.expect('step_one_logits', first)
    candidates = first.argsort(dim=1, descending=True)[:, : config['top_k']]
    fixture.expect('candidates', candidates)
    scores = torch.cat(
        [follow_up_scores(f[None], vectors(c.tolist())) for f, c in zip(images, candidates, strict=True)]
    )
    fixture.expect('follow_up_logits', scores)
    fixture.expect('prediction', candidates.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0])
    fixture.expect('logits_all_pairs', follow_up_scores(images, vectors([*range(len(names))], True)))


@consumes('descriptions', 'discriminative_selection')
def check_selection(fixture: Fixture) -> None:
    """Descriptions that speak for a class and against the other likely ones, and scores by them and by the LLM's."""
    config = fixture.config
    images, references = fixture.input('image_features'), fixture.input('selection_features')
    captions, descriptions = fixture.input('caption_embeddings'), fixture.input('description_embeddings')
    assignment, most = fixture.input('llm_assignment'), config['m']
    by_caption, by_description = images @ captions.T, images @ descriptions.T
    top = by_caption.topk(config['k'], dim=1).indices
    fixture.expect('top_k', top)
    similarity = (references @ descriptions.T).view(config['classes'], config['per_class'], -1).mean(dim=1).T
    selection = discriminative_selection(similarity, top, most)
    fixture.expect('selection', selection)
    filled = filled_selection(selection, top, assignment, most)
    fixture.expect('selection_filled', filled)
    empty = int((selection.sum(dim=2) == 0).sum())
    assert empty == fixture.manifest['data']['empty_selections_before_fill']
    for weight in config['cls_weights']:
        scores = weighted_scores(by_caption.gather(1, top), by_description, filled, weight)
        fixture.expect(f'scores_selected_w{weight}', scores)
        fixture.expect(f'scores_llm_w{weight}', weighted_scores(by_caption, by_description, assignment, weight))
        found = top.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0]
        accuracy = float((found == fixture.input('labels')).float().mean() * 100)
        assert abs(accuracy - fixture.manifest['data']['accuracy'][str(weight)]) < 1e-3

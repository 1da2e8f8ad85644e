"""Prompt-guided proposals on their hosts."""

from __future__ import annotations

import math

import pytest
import torch
from device_safety import fake_cuda, move_to_fake_cuda, segmentation_batch
from tiny_pmp_hosts import CLASSES, HOSTS, awake_host, pictures, tiny_host, with_instances

from denseclip.models.heads.pmp.inference import take, unite
from denseclip.models.segmentors.prompt_guided import present_classes
from denseclip.structures.mask_proposals import MaskProposals

ALL = [*HOSTS, 'Mask2Former']
GUIDE = 'prompt_guide.'


def proposals(model, images, samples=None) -> MaskProposals:
    with torch.no_grad():
        if hasattr(model, 'propose_from'):
            return model.propose(images, samples)
        return model.propose(model.extract_feat(images), samples)


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack([value.sum() for value in losses.values()]).sum()


@pytest.mark.parametrize('host', ALL)
def test_a_checkpoint_of_the_host_fits_and_gives_its_results(host: str) -> None:
    plain, guided = tiny_host(host, guided=False, seed=1), tiny_host(host, seed=2)
    missing, unexpected = guided.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert set(missing) == {key for key in guided.state_dict() if key.startswith(GUIDE)} != set()
    images, samples = pictures()
    _, others = pictures()
    with torch.no_grad():
        ours, theirs = guided.predict(images, samples), plain.predict(images, others)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
    if host != 'Mask2Former':
        first, second = proposals(guided, images), proposals(plain, images)
        assert torch.equal(first.mask_logits, second.mask_logits)
        assert torch.equal(first.class_embeddings, second.class_embeddings)


@pytest.mark.parametrize('host', ALL)
def test_the_guided_model_is_stored_without_loss(host: str) -> None:
    model, fresh = awake_host(host), tiny_host(host, seed=7)
    fresh.load_state_dict(model.state_dict())  # strict: every key, and no other
    fresh.text.load_state_dict(model.text.state_dict())  # a text tower of its own source is not stored
    images, _ = pictures()
    assert torch.equal(proposals(model, images).mask_logits, proposals(fresh, images).mask_logits)


@pytest.mark.parametrize('host', ALL)
def test_text_stays_as_it_is_in_training(host: str) -> None:
    model = awake_host(host).train()
    before = {name: p.clone() for name, p in model.text.tower.named_parameters()}
    assert before and not any(p.requires_grad for p in model.text.tower.parameters())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = model.loss(*pictures())
    assert all(bool(torch.isfinite(value).all()) for value in losses.values())
    total(losses).backward()
    still = {name for name, p in model.prompt_guide.named_parameters() if not p.grad.any()}
    # the queries of MaskFormer come to the first layer as zeros, whatever they are multiplied with
    assert still == ({'layers.0.norm.weight'} if host == 'OVSeg' else set())
    optimizer.step()
    assert all(torch.equal(p, before[name]) for name, p in model.text.tower.named_parameters())
    tokens = model.prompt_tokens(*[len(pictures()[1]), pictures()[1]])
    assert not tokens.tokens.requires_grad


def test_losses_keep_the_hosts_names() -> None:
    assert set(tiny_host().train().loss(*pictures())) == set(tiny_host(guided=False).train().loss(*pictures()))


@pytest.mark.parametrize('host', ALL)
def test_attention_loss_joins_the_hosts(host: str) -> None:
    model = tiny_host(host, prompts=dict(attention_loss=0.5)).train()
    images, samples = pictures()
    losses = model.loss(images, samples)
    plain = tiny_host(host).train().loss(*pictures())
    assert set(losses) - set(plain) == {'loss_prompt_attention'}
    assert 0 < float(losses['loss_prompt_attention'].detach()) < 5
    losses['loss_prompt_attention'].backward()
    assert bool(model.prompt_guide.proj.weight.grad.any())  # also while the gates are shut
    samples[0].set_metainfo(dict(prompts=['a mug']))
    assert set(model.loss(images, samples)) == set(plain)  # nobody knows whether it is there


@pytest.mark.parametrize('host', ALL)
def test_only_the_guide_learns_beside_a_frozen_host(host: str) -> None:
    model = awake_host(host, freeze_host=True).train()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if name.startswith(GUIDE)}
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert not any(norm.training for norm in norms)
    total(model.loss(*pictures())).backward()


@pytest.mark.parametrize('host', ALL)
def test_other_prompts_give_other_masks_and_none_gives_the_hosts(host: str) -> None:
    model, images = awake_host(host), pictures()[0]
    classes = proposals(model, images)
    model.set_prompts('the red thing in the corner; a very old car')
    phrases = proposals(model, images)
    assert not torch.allclose(classes.mask_logits, phrases.mask_logits, atol=1e-3)
    model.set_prompts(None)
    assert torch.equal(proposals(model, images).mask_logits, classes.mask_logits)
    _, samples = pictures()
    samples[0].set_metainfo(dict(prompts=[]))
    own = proposals(model, images, samples).mask_logits
    host_masks = proposals(tiny_host(host), images).mask_logits  # gates of zero
    assert torch.allclose(own[0], host_masks[0], atol=1e-5)
    assert torch.allclose(own[1], classes.mask_logits[1], atol=1e-5)
    samples[1].set_metainfo(dict(prompts=['the red thing in the corner', 'a very old car']))
    assert torch.allclose(proposals(model, images, samples).mask_logits[1], phrases.mask_logits[1], atol=1e-5)


def test_training_pictures_beside_one_with_prompts_of_its_own_are_shown_what_others_are() -> None:
    model = tiny_host(prompts=dict(sampler=dict(mode='positive_only'))).train()
    model.set_prompts('a red thing')  # of no effect in training
    _, samples = pictures()
    samples[0].set_metainfo(dict(prompts=['a mug', 'an old car', 'rust']))
    prompts = model.prompt_tokens(2, samples)
    assert (~prompts.absent).sum(1).tolist() == [3, 2]
    rows = model.prompt_table().tokens[:, 0]
    shown = prompts.tokens[1, ~prompts.absent[1]]
    classes = [int(model.prompt_table().class_index[(rows == row).all(1).nonzero()[0, 0]]) for row in shown]
    assert sorted(classes) == [0, 3]


def test_words_as_tokens() -> None:
    model, images = awake_host(prompts=dict(tokens='word')), pictures()[0]
    table = model.prompt_table()
    names = [name for name, more in CLASSES.items() for name in (name, *more)]
    assert len(table) == len(names) == 7 and table.class_index.tolist() == [0, 1, 1, 1, 2, 2, 3]
    ids = [len(model.text.tower.tokenizer(name)) for name in names]
    assert (~table.absent).sum(1).tolist() == ids
    ends = table.tokens[torch.arange(7), torch.tensor(ids) - 1]
    assert torch.allclose(ends, model.text.tower.encode(names), atol=1e-5)  # the last word piece is the embedding
    assert model.prompt_table() is table
    total(model.train().loss(*pictures())).backward()
    assert not torch.allclose(
        proposals(model.eval(), images).mask_logits, proposals(awake_host(), images).mask_logits, atol=1e-3
    )


@pytest.mark.parametrize('host', ALL)
@pytest.mark.parametrize('chunk', [3, pytest.param(1, marks=pytest.mark.slow), pytest.param(9, marks=pytest.mark.slow)])
def test_chunks_unite_the_proposals_of_their_prompts(host: str, chunk: int) -> None:
    model, images = awake_host(host, prompts=dict(inference='chunk', chunk=chunk)), pictures()[0]
    found, names = proposals(model, images), list(CLASSES)
    groups = [names[i : i + chunk] for i in range(0, 4, chunk)]
    assert found.mask_logits.shape[1] == 6 * len(groups)
    plain = awake_host(host)
    for group, masks in zip(groups, found.mask_logits.split(6, dim=1), strict=True):
        plain.set_prompts({name: CLASSES[name] for name in group})
        assert torch.allclose(masks, proposals(plain, images).mask_logits, atol=1e-4)
    with torch.no_grad():
        assert model.predict(*pictures())[0].pred_sem_seg.data.shape == (1, 64, 64)


@pytest.mark.parametrize('host', ALL)
def test_one_run_per_prompt_keeps_its_best_mask(host: str) -> None:
    model, images = awake_host(host, prompts=dict(inference='per_prompt')), pictures()[0]
    found = proposals(model, images)
    assert found.mask_logits.shape[1] == len(CLASSES)
    plain = awake_host(host)
    for place, (name, synonyms) in enumerate(CLASSES.items()):
        plain.set_prompts({name: synonyms})
        run = proposals(plain, images)
        if host == 'Mask2Former':
            fit = run.class_embeddings.softmax(-1)[..., place]
        else:
            row = plain.text.bank.encode({name: synonyms})
            row = torch.nn.functional.normalize(row.embeddings.mean(0), dim=-1)
            fit = torch.nn.functional.normalize(run.class_embeddings, dim=-1) @ row
        best = take(run, fit.argmax(1, keepdim=True)).mask_logits[:, 0]
        assert torch.allclose(found.mask_logits[:, place], best, atol=1e-4)
    model.set_prompts('the red thing; an old car; a mug')
    assert proposals(model, images).mask_logits.shape[1] == 3


def test_vocabulary_changes_at_any_time() -> None:
    model, images = awake_host(), pictures()[0]
    before = proposals(model, images)
    model.set_vocabulary([f'thing {i}' for i in range(1203)])
    after = proposals(model, images)
    assert after.mask_logits.shape == before.mask_logits.shape
    assert not torch.allclose(after.mask_logits, before.mask_logits, atol=1e-3)
    model.set_vocabulary('sky')
    with torch.no_grad():
        assert int(model.predict(*pictures())[0].pred_sem_seg.data.max()) == 0


def test_a_closed_head_refuses_other_numbers_of_classes() -> None:
    model = tiny_host('Mask2Former')
    with pytest.raises(ValueError, match='set_prompts'):
        model.set_vocabulary('road; sky')
    model.set_vocabulary('a; b; c; d')
    assert model.dataset_meta['classes'] == ('a', 'b', 'c', 'd')


def test_windows_flips_and_kept_logits_are_guided_too() -> None:
    model, images = awake_host('Mask2Former'), pictures()[0]
    metas = [sample.metainfo for sample in pictures()[1]]
    with torch.no_grad():
        scores, labels = model.encode_decode(images, metas), model.predict(*pictures())
        assert torch.equal(scores.argmax(1), torch.cat([sample.pred_sem_seg.data for sample in labels]))
        model.keep_logits = True
        kept = model.predict(*pictures())
        assert torch.allclose(kept[0].seg_logits.data, scores[0], atol=1e-5)
        model.set_prompts('the red thing in the corner')
        assert not torch.allclose(model.encode_decode(images, metas), scores, atol=1e-3)
        classes, masks = model(images, pictures()[1], mode='tensor')
        assert torch.allclose(masks[-1], proposals(model, images).mask_logits) and len(classes) == 3
        model.test_cfg.update(mode='slide', crop_size=(64, 64), stride=(32, 32))
        wide = pictures(size=(64, 96))
        assert model.predict(*wide)[0].pred_sem_seg.data.shape == (1, 64, 96)


def test_a_closed_head_gives_all_tasks_by_its_settings() -> None:
    settings = dict(mode='whole', task=['semantic', 'panoptic', 'instance'], score_threshold=0.0, topk=3)
    model = awake_host('Mask2Former', test_cfg=settings, things=['car', 'tree'])
    assert (model.tasks.score_threshold, model.tasks.topk, model.tasks.overlap_threshold) == (0.0, 3, 0.8)
    with torch.no_grad():
        found = model.predict(*pictures())[0]
        labels = proposals(model, pictures()[0]).class_embeddings[0].argmax(-1)
    best = {s['category_id'] for s in found.pred_panoptic_seg.segments_info}
    assert best <= set(labels.tolist()) - {4}  # no query that is "no object"
    assert found.pred_sem_seg.data.shape == (1, 64, 64) and set(found.pred_instances.labels.tolist()) <= {1, 3}
    with pytest.raises(TypeError, match='score_treshold'):
        tiny_host('Mask2Former', test_cfg=dict(score_treshold=0.5))
    windows = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))
    model = tiny_host('Mask2Former', test_cfg={**settings, **windows})
    with pytest.raises(ValueError, match='semantic results only'):
        model.predict(*pictures())


def test_flipped_views_of_a_closed_head_are_turned_back() -> None:
    model, (images, samples) = awake_host('Mask2Former'), pictures(1)
    model.keep_logits = True
    with torch.no_grad():
        plain = model.predict(images.flip(3), pictures(1)[1])[0]
        samples[0].set_metainfo(dict(flip=True, flip_direction='horizontal'))
        turned = model.predict(images.flip(3), samples)[0]
    torch.testing.assert_close(turned.seg_logits.data, plain.seg_logits.data.flip(2))
    assert torch.equal(turned.pred_sem_seg.data, plain.pred_sem_seg.data.flip(2))


@pytest.mark.parametrize('host', ALL)
def test_a_batch_without_any_segment(host: str) -> None:
    images, samples = pictures()
    for sample in samples:
        sample.gt_sem_seg.data.fill_(255)
    losses = awake_host(host).train().loss(images, samples)
    assert all(math.isfinite(float(value)) for value in losses.values())
    total(losses).backward()


def test_present_classes_from_label_maps_and_instances() -> None:
    _, samples = pictures()
    expected = torch.tensor([[True, False, True, False], [True, False, False, True]])
    assert torch.equal(present_classes(samples, 4), expected)
    assert torch.equal(present_classes(with_instances(samples), 4), expected)
    for sample in samples:
        sample.gt_instances = sample.gt_instances[:0]
    assert not present_classes(samples, 4).any()


def test_settings_are_checked() -> None:
    for wrong in (dict(tokens='letters'), dict(inference='twice'), dict(chunk=0)):
        with pytest.raises(ValueError, match=str(next(iter(wrong)))):
            tiny_host(prompts=wrong)
    first = MaskProposals(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 3))
    assert unite([first, MaskProposals(torch.zeros(1, 5, 4, 4))]).class_embeddings is None


# MMDet's own pixel decoder reads values of tensors, so its host is not among these; fake tensors are slow.
@pytest.mark.parametrize('host', [HOSTS[0], *(pytest.param(host, marks=pytest.mark.slow) for host in HOSTS[1:])])
def test_predicts_on_fake_cuda(host: str) -> None:
    model = awake_host(host)
    with fake_cuda() as mode, torch.no_grad():
        move_to_fake_cuda(model, mode)
        inputs, samples = segmentation_batch(1, (64, 64), ori_shape=(70, 66))
        assert proposals(model, inputs, samples).mask_logits.device.type == 'cuda'
        guide = model.train().query_guide(1, samples)
        assert guide is not None and guide._start.device.type == 'cuda'

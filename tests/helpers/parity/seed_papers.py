"""Fixtures of CLIPN, Long-CLIP and NoLA."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.clip.loading import build_clip, fit_state
from denseclip.clip.text import CLIPTextTower, NoTextTower
from denseclip.clip.towers import DenseReadOut, build_image_tower
from denseclip.models.functional.contrastive import long_caption_losses, principal_part
from denseclip.models.functional.pseudo_labels import confident_samples, samples_per_class
from denseclip.models.functional.yes_no import (
    agreeing_to_differ,
    competing_to_win,
    with_unknown,
    yes_no_losses,
    yes_probability,
)
from denseclip.weights import load_into, stretch_positions
from denseclip.weights.convert.clip_family import no_tower_state, open_clip_names

from .fixtures import Fixture
from .registry import consumes


def _class_rows(tower: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of the first prompt (K, E), and class rows from ids (P, K, L)."""
    each = torch.stack([tower.encode_tokens(prompt)[0] for prompt in tokens])
    return each[0], F.normalize(F.normalize(each, dim=-1).sum(dim=0), dim=-1)


@consumes('clipn', 'logits')
@torch.no_grad()
def check_clipn(fixture: Fixture) -> None:
    """Two text towers, one image tower, the two ways to be sure, and the authors' measures of them."""
    config, theirs = fixture.config, fixture.state()
    vision = dict(width=config['vwidth'], layers=config['vlayers'], patch_size=config['patch'])
    vision.update(image_size=config['res'], head_width=config['head_width'])
    text = {key: config[key] for key in ('width', 'heads', 'layers', 'vocab_size', 'context_length')}
    clip = build_clip(dict(embed_dim=config['embed'], vision_cfg=vision, text_cfg=text, quick_gelu=config['quick']))
    load_into(clip.eval(), fit_state(clip, open_clip_names(theirs).state))
    yes = CLIPTextTower(clip)
    no = NoTextTower(yes, num_prompts=config['num_no_prompts']).eval()
    load_into(no, no_tower_state(theirs))
    tokens = fixture.input('tokens')
    for name, tower in (('yes', yes), ('no', no)):
        first, rows = _class_rows(tower, tokens)
        fixture.expect(f'text_{name}_first_prompt', first)
        fixture.expect(f'weights_{name}', rows)
    images = build_image_tower(clip.visual, DenseReadOut(dense=False))(fixture.input('images')).pooled
    fixture.expect('image_features', images)
    units = F.normalize(images, dim=-1)
    logits, logits_no = (config['scale'] * units @ _class_rows(tower, tokens)[1].T for tower in (yes, no))
    fixture.expect('logits_yes', logits)
    fixture.expect('logits_no', logits_no)
    fixture.expect('p_yes', yes_probability(logits, logits_no))
    fixture.expect('ctw', competing_to_win(logits, logits_no))
    fixture.expect('atd', agreeing_to_differ(logits, logits_no))
    assert torch.allclose(1 - with_unknown(logits, logits_no)[:, -1], agreeing_to_differ(logits, logits_no), atol=1e-5)
    _check_measures(fixture, logits, logits_no)


def _check_measures(fixture: Fixture, logits: Tensor, logits_no: Tensor) -> None:
    known, measures = fixture.config['known_pictures'], fixture.manifest['data']['metrics']
    for name, scores in (('CTW', competing_to_win(logits, logits_no)), ('ATD', agreeing_to_differ(logits, logits_no))):
        above = (scores[:known, None] > scores[None, known:]).double()
        equal = (scores[:known, None] == scores[None, known:]).double()
        assert abs((above + equal / 2).mean().item() - measures[name]['AUROC']) < 1e-6, f'{fixture.id}: {name}'
    hits = logits[:known].argmax(dim=1) == fixture.input('labels')[:known]
    assert abs(hits.double().mean().item() - measures['ID_accuracy']) < 1e-6


@consumes('clipn', 'losses')
def check_clipn_losses(fixture: Fixture) -> None:
    """The three losses, the third in both forms, and their sum."""
    config = fixture.config
    batch = [fixture.input(name) for name in ('image_features', 'text_features', 'text_features_no', 'scale')]
    losses = yes_no_losses(*batch, epsilon=config['epsilon'])
    fixture.expect('loss_bin_yes', losses.yes)
    fixture.expect('loss_bin_no', losses.no)
    fixture.expect('loss_tso', losses.opposite)
    fixture.expect('loss_tso_cosine', yes_no_losses(*batch, epsilon=config['epsilon'], cosine=True).opposite)
    fixture.expect('total', losses.total(config['weight']))


@consumes('long_clip', 'stretch')
def check_stretch(fixture: Fixture) -> None:
    """Positions of a longer text tower; the table that is trained begins as a copy of the other."""
    config = fixture.config
    long = stretch_positions(fixture.input('positional_embedding'), config['keep_len'], config['ratio'])
    assert long.shape[0] == config['length_out']
    fixture.expect('positional_embedding', long)
    fixture.expect('positional_embedding_res', long)


@consumes('long_clip', 'text_tower')
@torch.no_grad()
def check_text_tower(fixture: Fixture) -> None:
    """A text tower with two tables of positions, read by the converter of its family."""
    config = fixture.config
    sizes = {key: config[key] for key in ('context_length', 'vocab_size', 'width', 'heads', 'layers', 'embed_dim')}
    tower = CLIPTextTower.create(**sizes, quick_gelu=config['quick_gelu']).eval()
    state = open_clip_names(fixture.state()).state
    load_into(tower, {name: value for name, value in state.items() if name != 'logit_scale'})
    tokens = fixture.input('tokens')
    fixture.expect('text', tower.encode_tokens(tokens)[0])
    count = fixture.tensors['out.states_first'].shape[1]
    fixture.expect('states_first', tower.ln_final(tower._run_blocks(tokens))[:, :count])


@consumes('long_clip', 'training_loss')
def check_training_loss(fixture: Fixture) -> None:
    """Main parts of a batch, and the losses of long and short captions."""
    config = fixture.config
    names = ('image_features', 'text_features_long', 'text_features_short', 'logit_scale')
    images, long, short, scale = (fixture.input(name) for name in names)
    fixture.expect('image_features_pca', principal_part(images, config['pca_dim']))
    for match in fixture.outputs(r'image_features_pca_of_first_(\d+)'):
        fixture.expect(match.group(), principal_part(images[: int(match.group(1))], config['pca_dim']))
    options = dict(components=config['pca_dim'], label_smoothing=config['label_smoothing'])
    losses = long_caption_losses(images, long, short, scale.exp(), **options)
    fixture.expect('loss_long', losses[0])
    fixture.expect('loss_short', losses[1])


@consumes('nola', 'pseudo_labels')
def check_pseudo_labels(fixture: Fixture) -> None:
    """The trusted samples of each class, how many they are, and the smoothed loss of the student."""
    config, probabilities = fixture.config, fixture.input('probabilities')
    classes = fixture.input('labels').unique().tolist()
    index, labels = confident_samples(probabilities, config['k'], classes=classes)
    fixture.expect('index', index)
    fixture.expect('pseudo_label', labels)
    fixture.expect('confidence', probabilities.amax(dim=1)[index].double())
    for sizes, count in config['find_k'].items():
        assert samples_per_class(*map(int, sizes.split('/'))) == count, sizes
    smoothing = 0.1 if config.get('smoothing') is None else config['smoothing']
    student, targets = fixture.input('student_logits'), fixture.input('student_targets')
    fixture.expect('smoothed_loss', F.cross_entropy(student, targets, label_smoothing=smoothing))

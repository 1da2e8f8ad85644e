"""CLIPN's background: the second text tower in the training-free models, and the rules by which it speaks."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.structures import SegDataSample
from PIL import Image
from tiny_open_vocab import ARCH, tiny_open_vocab

from denseclip.cli.main import main
from denseclip.clip.loading import build_clip
from denseclip.clip.text import CLIPTextTower, NoTextTower
from denseclip.export.capabilities import capability
from denseclip.models.builder import build_module
from denseclip.models.functional.yes_no import agreeing_to_differ, competing_to_win, with_unknown, yes_no_losses

CLASSES = ['sky', ('car', ['automobile', 'vehicle']), 'road']


def clipn_file(path, scale_of_no=3.0):
    """A file of CLIPN's layout whose two text towers say different things, and its image and text weights."""
    torch.manual_seed(1)
    state = {k: v.clone() for k, v in tiny_open_vocab('maskclip').parts.clip.model.state_dict().items()}
    no = {}
    for name, value in state.items():
        head, _, rest = name.partition('.')
        if head in ('transformer', 'token_embedding', 'positional_embedding', 'ln_final', 'text_projection'):
            no[f'{head}_no' + (f'.{rest}' if rest else '')] = (
                value + scale_of_no * torch.randn_like(value) * value.std()
            )
    no['prompt_no'] = torch.randn(16, *state['positional_embedding'].shape) * 0.1
    torch.save(
        {'epoch': 3, 'name': 'clipn', 'state_dict': {f'module.{k}': v for k, v in {**state, **no}.items()}}, path
    )
    return state


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('clipn') / 'clipn.pt'
    clipn_file(path)
    return path


def made(weights, name='maskclip', **options):
    clip = dict(model='ViT-B-16', arch=ARCH, preset=name, pretrained=str(weights), quick_gelu=False)
    vocabulary = dict(classes=CLASSES, background='clipn')
    spec = dict(type='OpenVocabularySegmentor', clip=clip, vocabulary=vocabulary, templates='photo', **options)
    return build_module(spec).eval()


def pictures(n=1, height=64, width=80):
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings('ignore:.*which activation')
@pytest.mark.parametrize('name', ['maskclip', 'sclip'])
@torch.no_grad()
def test_one_more_label_for_what_is_none_of_the_classes(weights, name):
    model, image = made(weights, name), pictures(2)
    plain = tiny_open_vocab(name, vocabulary=CLASSES)
    assert model.num_classes == 4 and model.dataset_meta['classes'] == ('sky', 'car', 'road', 'background')
    scores = model.head_logits(image)
    assert scores.shape[1] == 4 and plain.head_logits(image).shape[1] in (3, 5)
    rows = model.class_embeddings().embeddings
    no = model._no_text[0].rows(model.vocabulary, model.class_embeddings().merge, image.device)
    units = torch.nn.functional.normalize(model.dense_features(image), dim=1)
    yes, denied = (model.scale * torch.einsum('nehw,ke->nkhw', units, r) for r in (rows, no))
    assert torch.allclose(1 - scores[:, -1], agreeing_to_differ(yes, denied), atol=1e-4)
    samples = model.predict(image, [SegDataSample(metainfo={'ori_shape': (64, 80)}) for _ in image])
    found = {int(label) for sample in samples for label in sample.pred_sem_seg.data.unique()}
    assert found <= {0, 1, 2, 3} and len(found) > 1


@pytest.mark.filterwarnings('ignore:.*which activation')
def test_it_is_not_exported(weights):
    model = made(weights)
    assert 'second text tower' in capability(model).reason
    model.set_vocabulary(CLASSES)
    assert capability(model).exportable


@pytest.mark.filterwarnings('ignore:.*which activation')
@torch.no_grad()
def test_the_state_dict_is_that_of_clip_and_other_words_are_denied_anew(weights):
    model = made(weights)
    assert not any('no' in key.split('.')[0] for key in model.state_dict())
    before = model.head_logits(pictures())
    model.set_vocabulary(dict(classes=['tree', 'house'], background='clipn'))
    assert model.head_logits(pictures()).shape[1] == 3
    model.set_vocabulary(dict(classes=CLASSES, background='clipn'))
    assert torch.equal(model.head_logits(pictures()), before)
    model.set_vocabulary(CLASSES)
    assert model.num_classes == 3 and model.head_logits(pictures()).shape[1] == 3


@pytest.mark.filterwarnings('ignore:.*which activation')
@pytest.mark.parametrize('per', ['picture', 'window'])
@torch.no_grad()
def test_spread_maps_have_no_plane_of_what_is_none_of_the_classes(weights, per):
    model = made(weights, output='probabilities')
    samples = [SegDataSample(metainfo={'ori_shape': (64, 80)})]
    model.active_vocabulary = dict(scorer='agreement', relabel=True, per=per, most=1)
    with pytest.raises(ValueError, match="relabel=True.*background='clipn'"):
        model.predict(pictures(), samples)
    model.offered = torch.tensor([True, False, True])  # a choice that was made by hand spreads nothing
    assert set(model.predict(pictures(), samples)[0].pred_sem_seg.data.unique().tolist()) <= {0, 2, 3}
    model.offered = None
    model.active_vocabulary = dict(scorer='agreement', per=per)
    assert model.predict(pictures(), samples)[0].class_choice.kept.shape == (3,)


def test_weights_without_a_second_tower_are_refused(tmp_path):
    model = tiny_open_vocab('maskclip')
    with pytest.raises(ValueError, match='second text tower'):
        model.set_vocabulary(dict(classes=CLASSES, background='clipn'))
    assert model.vocabulary.background == 'none'  # the former words stay
    with pytest.raises(ValueError, match='unknown_rule'):
        tiny_open_vocab('maskclip', post=dict(unknown_rule='vote'))


def test_the_tower_adds_the_mean_and_in_training_one_of_its_vectors():
    torch.manual_seed(0)
    yes = CLIPTextTower.create(context_length=9, vocab_size=30, width=16, heads=2, layers=2, embed_dim=8).eval()
    no = NoTextTower(yes, num_prompts=3)
    tokens = torch.randint(1, 29, (40, 6))
    with torch.no_grad():
        torch.testing.assert_close(no.eval().encode_tokens(tokens), yes.encode_tokens(tokens))  # they begin equal
        no.prompts.copy_(torch.randn_like(no.prompts))
        mean = yes.encode_tokens(tokens, added=no.prompts.mean(dim=0)[:6])
        assert torch.allclose(no.encode_tokens(tokens), mean)
        each = torch.stack([*(yes.encode_tokens(tokens, added=p[:6])[0] for p in no.prompts), mean[0]])
        drawn = no.train().encode_tokens(tokens)[0]
    distance = (each - drawn).norm(dim=2)
    assert (distance.amin(dim=0) < 1e-5).all()
    assert set(distance.argmin(dim=0).tolist()) == {0, 1, 2, 3}


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**20))
def test_rules(classes, seed):
    logits, no = 5 * torch.randn(2, 7, classes, generator=torch.Generator().manual_seed(seed))
    agree, compete = with_unknown(logits, no), with_unknown(logits, no, 'compete')
    assert agree.shape == compete.shape == (7, classes + 1)
    assert torch.allclose(agree.sum(dim=1), torch.ones(7), atol=1e-5) and bool((agree >= -1e-6).all())
    unknown = competing_to_win(logits, no) < 0.5
    assert torch.equal(compete.argmax(dim=1) == classes, unknown)
    assert torch.equal(compete[~unknown].argmax(dim=1), logits[~unknown].argmax(dim=1))


def test_losses_fall_where_the_texts_say_what_is_so():
    images = torch.eye(4)
    right = yes_no_losses(images, images, -images, 10.0)
    wrong = yes_no_losses(images, -images, images, 10.0)
    assert right.yes < wrong.yes and right.total() < wrong.total()
    assert torch.isfinite(yes_no_losses(images, images, images, 10.0).opposite)
    equal = torch.nn.functional.normalize(torch.randn(3, 5), dim=1).requires_grad_()
    yes_no_losses(equal.detach(), equal, equal.detach(), 10.0).opposite.backward()
    assert torch.isfinite(equal.grad).all()


@pytest.mark.filterwarnings('ignore:.*(activation|attention is taken)')
def test_a_folder_and_the_command_line_know_the_second_tower(tmp_path, capsys):
    torch.manual_seed(0)
    config = dict(image_size=32, patch_size=8, layers=2, width=64, head_width=64)
    text = dict(width=64, heads=1, layers=2, vocab_size=49408, context_length=77)
    clip = build_clip(dict(embed_dim=24, vision_cfg=config, text_cfg=text, quick_gelu=False))
    state = clip.state_dict()
    heads = ('transformer', 'token_embedding', 'positional_embedding', 'ln_final', 'text_projection')
    no = {f'{h}_no{k[len(h) :]}': 2 * torch.randn_like(v) for k, v in state.items() for h in heads if k.startswith(h)}
    torch.save({'state_dict': {**state, **no, 'prompt_no': torch.zeros(16, 77, 64)}}, tmp_path / 'clipn.pt')
    folder = tmp_path / 'folder'
    assert main(['convert', 'clip', str(tmp_path / 'clipn.pt'), str(folder)]) == 0
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8)).save(tmp_path / 'a.png')
    call = ['segment', str(tmp_path / 'a.png'), '--preset', 'maskclip', '--clip', f'local-dir:{folder}']
    call += ['--classes', 'sky; road', '--background', 'clipn', '--json']
    capsys.readouterr()
    assert main(call) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[0])
    assert 'background' in json.dumps(found) and 'sky' in json.dumps(found)
    (folder / 'no_text.safetensors').unlink()
    assert main(call) == 2
    assert 'denseclip convert clip' in capsys.readouterr().err

"""Checks of MaskCLIP, as CLIP-DINOiser reads it and as its authors published it, and of the shared CLIP weights."""

from __future__ import annotations

import re
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.clip.templates import fill, resolve_templates
from denseclip.clip.text import CLIPTextTower
from denseclip.clip.text_bank import TextBank
from denseclip.clip.towers import DenseReadOut, ViTTower, build_resnet
from denseclip.clip.towers.resnet import ResNetTower
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.open_vocab import cosine_scores
from denseclip.models.functional.pictures import normalize_pictures
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.segmentors import OpenVocabularySegmentor
from denseclip.models.segmentors.post_processing import PostProcessing
from denseclip.weights import load_into, resize_positions, strip_prefix
from denseclip.weights.convert import convert

from .dinoiser_models import clip_parts, dinoiser, expect_probabilities
from .fixtures import Fixture, compare
from .registry import consumes

AUTHORS_RESNET_BLOCKS = {
    '50': (3, 4, 6, 3),
    '101': (3, 4, 23, 3),
    '50x4': (4, 6, 10, 6),
    '50x16': (6, 8, 18, 8),
    '50x64': (3, 15, 36, 10),
}


@consumes('dinoiser', 'weights_clip')
def check_weights_clip(fixture: Fixture) -> None:
    """The shared tower fills the model of its manifest without a name missing or left over."""
    parts = OpenCLIPParts('ViT-B-16', arch=fixture.config['clip'])
    visual: Any = parts.clip.model.visual
    state = convert(fixture.state(), 'openai_clip', part='visual')
    load_into(visual, state, source=fixture.id)
    assert all(torch.equal(value, state[name]) for name, value in visual.state_dict().items())


@consumes('dinoiser', 'pos_embed_clip')
def check_pos_embed(fixture: Fixture) -> None:
    for match in fixture.outputs(r'pos_(\d+)x(\d+)'):
        grid = (int(match.group(1)), int(match.group(2)))
        fixture.expect(match.group(), resize_positions(fixture.input('pos_embed'), grid, mode='bicubic'))


@consumes('dinoiser', 'maskclip_dense')
@torch.no_grad()
def check_maskclip_dense(fixture: Fixture) -> None:
    clip = {'preset': 'maskclip', 'read_out': {'ffn_inputs': (-3,)}}
    model = with_parts(fixture, clip)
    model.set_class_embeddings(fixture.state()['class_embeddings'], fixture.config['classes'])
    tower: Any = model.tower
    for match in list(fixture.outputs(r'feat_(\w+)')):
        run = match.group(1)
        images = normalize_pictures(fixture.input(f'image_{run}'), tower.preprocess)
        out = model.read(images)
        positions = resize_positions(tower.visual.positional_embedding, out.grid, mode=tower.read_out.pos_resize)
        fixture.expect(f'pos_embed_{run}', positions)
        fixture.expect(f'ln_pre_{run}', tower.embed(images)[0])
        fixture.expect(f'penultimate_{run}', out.tokens)
        fixture.expect(f'ln2_m3_{run}', out.ffn_inputs[0])
        fixture.expect(f'value_feat_{run}', out.unprojected)
        fixture.expect(f'feat_{run}', model.dense_features(images))
        expect_probabilities(fixture, f'probs_{run}', model.head_logits(images))


def with_parts(fixture: Fixture, clip: dict[str, Any], **options: Any) -> OpenVocabularySegmentor:
    """A model on the fixture's tiny CLIP, configured as in a config file."""
    return OpenVocabularySegmentor({**clip, 'parts': clip_parts(fixture)}, **options).eval()


@consumes('dinoiser', 'maskclip_text')
@torch.no_grad()
def check_maskclip_text(fixture: Fixture) -> None:
    """Token ids, text features and class embeddings of each way to fill names into sentences."""
    config = fixture.config
    text = config['clip']['text_cfg']
    tower = CLIPTextTower.create(
        **{name: text[name] for name in ('context_length', 'vocab_size', 'width', 'heads', 'layers')},
        embed_dim=config['clip']['embed_dim'],
        quick_gelu='quick' in config['activation'].lower(),
    ).eval()
    state = fixture.state()
    table = torch.zeros(text['vocab_size'], text['width'])
    table[fixture.input('token_rows_ids').long()] = state.pop('token_embedding.rows')
    load_into(tower, convert({**state, 'token_embedding.weight': table}, 'openai_clip', part='text'), source=fixture.id)
    sets = {'imagenet80': 'openai_imagenet', 'laion2': 'laion', 'plain1': 'a {}'}
    for match in list(fixture.outputs(r'class_embeddings_(\w+)')):
        templates = resolve_templates(sets[match.group(1)])
        prompts = [fill(template, name) for name in config['classes'] for template in templates]
        tokens = tower.tokenize(prompts).unflatten(0, (len(config['classes']), -1))
        reference = fixture.input(f'tokens_{match.group(1)}')
        assert torch.equal(tokens.to(reference.dtype), reference)
        encoded = tower.encode(prompts).unflatten(0, (len(config['classes']), -1))
        fixture.expect(f'encoded_{match.group(1)}', encoded)
        fixture.expect(
            match.group(), TextBank(tower, templates).encode(Vocabulary.from_names(config['classes'])).embeddings
        )


def post_processing(fixture: Fixture, result: str) -> PostProcessing:
    """The thresholds that the manifest describes a result with."""
    words = fixture.manifest['tensors'][f'out.{result}']['meaning']
    found = {key: float(value) for key, value in re.findall(r"(\w+)_thresh'?[=:] ?([\d.]+)", words)}
    settings = {'prompt_denoising': found.get('pd') or None, 'key_smoothing': found.get('ks') or None}
    return PostProcessing(**settings, key_smoothing_as_released=True)


def orig_scores(dense: Tensor, keys: Tensor, text: Tensor, post: PostProcessing) -> Tensor:
    """What the authors' head returns: cosines, or probabilities when key smoothing is on."""
    cosines = post.denoise(cosine_scores(dense, F.normalize(text, dim=-1)), 100.0)
    return cosines if post.key_smoothing is None else post.smooth((100.0 * cosines).softmax(dim=1), keys)


@consumes('dinoiser', 'maskclip_orig_vit')
@torch.no_grad()
def check_maskclip_orig_vit(fixture: Fixture) -> None:
    config = fixture.config
    vision = dict(image_size=config['img_size'][0], patch_size=config['patch'], width=config['dim'])
    vision |= dict(layers=config['layers'], head_width=config['dim'] // config['heads'])
    arch = {'embed_dim': config['D'], 'vision_cfg': vision, 'text_cfg': dict(width=16, heads=2, layers=1)}
    quick_gelu = 'quick' in config['act'].lower()
    parts = OpenCLIPParts('ViT-B-16', arch=arch, quick_gelu=quick_gelu, norm_eps=config['ln_eps'])
    state = fixture.state()
    visual: Any = parts.clip.model.visual
    load_into(visual, strip_prefix(convert(state, 'maskclip'), 'visual.'), source=fixture.id)
    model = OpenVocabularySegmentor({'parts': parts, 'preset': 'maskclip_orig', 'read_out': {'keys': 'projected'}})
    text = state['decode_head.text_embeddings']
    model.set_class_embeddings(text, [f'class {k}' for k in range(config['K'])])
    ordinary = ViTTower(visual, DenseReadOut(pooled=False, pos_resize='bicubic'))
    for match in list(fixture.outputs(r'x_(\w+)')):
        run = match.group(1)
        images = fixture.input(f'image_{run}')
        out = model.read(images)
        fixture.expect(f'x_{run}', ordinary(model.pad(images)).unprojected)
        fixture.expect(f'k_{run}', out.keys)
        fixture.expect(f'v_{run}', out.unprojected)
        for head in list(fixture.outputs(rf'head_(\w+)_{run}')):
            post = post_processing(fixture, head.group())
            fixture.expect(head.group(), orig_scores(out.dense, out.keys, text, post))
            configured = OpenVocabularySegmentor({'parts': parts, 'preset': 'maskclip_orig'}, post=post)
            configured.set_class_embeddings(text, model.vocabulary)
            fixture.expect(head.group(), configured.head_logits(images))
        labels = fixture.tensors[f'out.pred_{run}']
        model.stretch = True  # as their evaluation resizes the map of the padded picture
        samples = [SegDataSample(metainfo={'ori_shape': tuple(labels.shape[1:])}) for _ in images]
        expect_labels(fixture, f'pred_{run}', torch.cat([s.pred_sem_seg.data for s in model.predict(images, samples)]))
        model.stretch = False


@consumes('dinoiser', 'maskclip_orig_resnet')
@torch.no_grad()
def check_maskclip_orig_resnet(fixture: Fixture) -> None:
    config, images, state = fixture.config, fixture.input('image'), fixture.state()
    visual = build_resnet(
        AUTHORS_RESNET_BLOCKS[str(config['depth'])],
        width=config['base'],
        stem_width=config['stem'],
        embed_dim=config['D'],
        heads=config['num_heads'],
        image_size=64,
    ).eval()
    # Their files keep neither positions of the pool, which are zero in this fixture, nor the counters of batch norms.
    own = {k: torch.zeros_like(v) for k, v in visual.state_dict().items() if k.endswith(('embedding', 'tracked'))}
    load_into(visual, {**own, **strip_prefix(convert(state, 'maskclip'), 'visual.')}, source=fixture.id)
    text = state['decode_head.text_embeddings']
    out = ResNetTower(visual, DenseReadOut((2, 3), pooled=False, attention='value', keys='raw'))(images)
    fixture.expect('c4', out.stages[0])
    fixture.expect('c5', out.stages[1])
    pooled = ResNetTower(visual, DenseReadOut((), pooled=False))(images)
    for match in list(fixture.outputs(r'head_\w+')):
        words = fixture.manifest['tensors'][f'out.{match.group()}']['meaning']
        dense = pooled.dense if "'attn_pooling': True" in words else out.dense
        fixture.expect(match.group(), orig_scores(dense, out.keys, text, post_processing(fixture, match.group())))


def expect_labels(fixture: Fixture, name: str, labels: Tensor, share: float = 0.001) -> None:
    """Compare label maps; a pixel in a thousand may lie so near a border that rounding decides."""
    reference = fixture.tensors[f'out.{name}']
    wrong = (labels.reshape(reference.shape) != reference).float().mean().item()
    assert wrong <= share, f'{fixture.id} {name}: {wrong:.3%} of the labels differ'
    fixture.compared.add(f'out.{name}')


@consumes('dinoiser', 'inference_slide')
@torch.no_grad()
def check_inference_slide(fixture: Fixture) -> None:
    """Sliding and whole inference to the original size, with one window and with several at a time."""
    config = fixture.config
    model = dinoiser(fixture, stretch=True)
    images = normalize_pictures(fixture.input('image'), model.tower.preprocess)
    slide = dict(mode='slide', crop_size=tuple(config['crop']), stride=tuple(config['stride']))
    for name, rule in (('slide', False), ('slide_found', True), ('whole_found', True)):
        model.background_rule = rule
        for window_batch in (1, 8):
            model.test_cfg.update(slide if name.startswith('slide') else dict(mode='whole'), window_batch=window_batch)
            sample = SegDataSample(metainfo={'ori_shape': tuple(config['ori_shape'])})
            expect_labels(fixture, f'pred_{name}', model.predict(images, [sample])[0].pred_sem_seg.data)
    model.keep_logits = True
    model.test_cfg.update(slide, window_batch=3)
    sample = SegDataSample(metainfo={'ori_shape': tuple(config['ori_shape'])})
    scores = model.predict(images, [sample])[0].seg_logits.data[None]
    problem = compare(scores, fixture.tensors['out.scores_slide_found'], fixture.manifest['tolerance'])
    assert problem is None, problem
    fixture.compared.add('out.scores_slide_found')

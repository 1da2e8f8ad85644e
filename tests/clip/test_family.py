"""A random file of every published layout, against an independent reading of it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from denseclip.cli.main import main
from denseclip.clip.family import read_family
from denseclip.clip.known_weights import KNOWN
from denseclip.clip.loading import build_clip, load_clip, read_clip
from denseclip.clip.towers import DenseReadOut
from denseclip.models.builder import build_module
from denseclip.weights import WeightMismatchError
from denseclip.weights.convert.clip_family import LAYOUTS

CONFIG = dict(
    embed_dim=24,
    quick_gelu=True,
    vision_cfg=dict(image_size=32, patch_size=8, width=64, layers=2, head_width=64),
    text_cfg=dict(width=64, heads=1, layers=2, vocab_size=49408, context_length=77),
)
TEXTS = ['road', 'a photo of a traffic light.']
pytestmark = [pytest.mark.filterwarnings('ignore:.*(activation|attention is taken|gives|left out)')]


def plain_clip(seed=0, **changes):
    torch.manual_seed(seed)
    return build_clip({**CONFIG, **changes}).eval()


@pytest.fixture(scope='module')
def clip():
    return plain_clip()


def pictures(side=32):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3))


def tokens(length=77):
    return open_clip.tokenize(TEXTS, length)


def saved(tmp_path, state, **around):
    torch.save({'state_dict': state, **around} if around else state, tmp_path / 'theirs.pt')
    return tmp_path / 'theirs.pt'


@torch.no_grad()
def check(loaded, image, text):
    side = loaded.preprocess.size[0]
    assert torch.allclose(loaded.image_tower(DenseReadOut(dense=False))(pictures(side)).pooled, image, atol=1e-4)
    assert torch.allclose(loaded.text_tower().encode(TEXTS), text, atol=1e-4)


@torch.no_grad()
def test_long_clip_has_two_tables_of_positions(tmp_path):
    text = {**CONFIG['text_cfg'], 'context_length': 248}
    theirs = plain_clip(text_cfg=text)
    state = dict(theirs.state_dict())
    second = torch.randn_like(state['positional_embedding'])
    loaded = load_clip(str(saved(tmp_path, {**state, 'positional_embedding_res': second})))
    theirs.positional_embedding.data[20:] = second[20:]
    long = ' '.join(['red brick house'] * 40)
    expected = theirs.encode_text(open_clip.tokenize([long], 248))
    assert torch.allclose(loaded.text_tower().encode([long]), expected, atol=1e-4)
    check(loaded, theirs.encode_image(pictures()), theirs.encode_text(tokens(248)))


@pytest.mark.parametrize('nested', [False, True])
@torch.no_grad()
def test_cloob(tmp_path, clip, nested):
    state = dict(clip.state_dict())
    state['logit_inv_tau'] = state.pop('logit_scale')
    if nested:  # its newer class keeps the text tower under one name
        state = {k if k.startswith(('visual.', 'logit')) else f'transformer.{k}': v for k, v in state.items()}
    loaded = load_clip(str(saved(tmp_path, {f'module.{k}': v for k, v in state.items()}, epoch=3)))
    check(loaded, clip.encode_image(pictures()), clip.encode_text(tokens()))
    assert loaded.model.logit_scale == clip.logit_scale


@pytest.mark.parametrize('prefix', ['class_model.model.', 'segmentor.net.model.', 'model.', 'module.clip.'])
@torch.no_grad()
def test_a_trainer_around_the_model(tmp_path, clip, prefix):
    state = {f'{prefix}{k}': v for k, v in clip.state_dict().items()}
    others = {'class_model.final_fc.weight': torch.zeros(2, 2), 'unet.conv_in.weight': torch.zeros(1)}
    path = saved(tmp_path, {**state, **others})
    with pytest.warns(UserWarning, match=r'left out what belongs to no CLIP: .*unet'):
        loaded = load_clip(str(path))
    check(loaded, clip.encode_image(pictures()), clip.encode_text(tokens()))


@pytest.mark.parametrize('prefix', ['visual.', ''])
@torch.no_grad()
def test_an_image_tower_is_laid_over_a_base(tmp_path, clip, prefix, monkeypatch):
    other = plain_clip(seed=5)
    torch.save(clip.state_dict(), tmp_path / 'base.pt')
    part = saved(tmp_path, {prefix + k: v for k, v in other.visual.state_dict().items()})
    monkeypatch.setattr(open_clip, 'get_model_config', lambda name: CONFIG if name == 'Tiny' else None)
    with pytest.warns(UserWarning, match=r'gives \d+ of \d+ tensors \(visual\); the base gives \d+ \(ln_final, logit'):
        loaded = load_clip('Tiny', part, base=tmp_path / 'base.pt')
    check(loaded, other.encode_image(pictures()), clip.encode_text(tokens()))
    with pytest.raises(WeightMismatchError):
        load_clip('Tiny', part)
    with pytest.raises(ValueError, match='needs an architecture'):
        load_clip(str(tmp_path / 'base.pt'), base=tmp_path / 'base.pt')
    strange = saved(tmp_path, {'visual.conv1.weight': torch.zeros(1), 'visual.other': torch.zeros(1)})
    with pytest.raises(WeightMismatchError, match='its base does not have'):
        load_clip('Tiny', strange, base=tmp_path / 'base.pt')


class _Slip(nn.Module):
    """The two towers as SLIP, LaCLIP and A-CLIP write them down, from timm's trunk and PyTorch's own attention."""

    def __init__(self, width, heads, qk_norm, embed_dim=24):
        super().__init__()
        self.visual = timm.create_model(
            'vit_tiny_patch16_224',
            num_classes=0,
            img_size=32,
            patch_size=8,
            embed_dim=width,
            depth=2,
            num_heads=heads,
            qk_norm=qk_norm,
        )
        text = plain_clip()
        self.transformer, self.ln_final, self.token_embedding = text.transformer, text.ln_final, text.token_embedding
        self.positional_embedding, self.text_projection = text.positional_embedding, text.text_projection
        self.image_projection = nn.Parameter(torch.randn(width, embed_dim) / 8)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        for block in self.visual.blocks:
            if qk_norm:
                nn.init.normal_(block.attn.q_norm.weight)

    def image(self, pixels):
        return self.visual(pixels) @ self.image_projection

    def text(self, ids):
        x = self.token_embedding(ids) + self.positional_embedding
        mask = torch.full((ids.shape[1],) * 2, -math.inf).triu(1)
        for block in self.transformer.resblocks:
            y = block.ln_1(x)
            x = x + block.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
            hidden = block.mlp.c_fc(block.ln_2(x))
            x = x + block.mlp.c_proj(hidden * torch.sigmoid(1.702 * hidden))
        ends = ids.argmax(dim=1)
        return self.ln_final(x)[torch.arange(len(ids)), ends] @ self.text_projection


@pytest.mark.parametrize(('width', 'heads', 'qk_norm'), [(384, 12, False), (64, 2, True)], ids=['slip-s', 'laclip'])
@torch.no_grad()
def test_slips_family(tmp_path, width, heads, qk_norm):
    torch.manual_seed(0)
    theirs = _Slip(width, heads, qk_norm).eval()
    extras = {'visual_ema.cls_token': torch.zeros(1), 'image_mlp.layer1.weight': torch.zeros(1)}
    path = saved(tmp_path, {f'module.{k}': v for k, v in {**theirs.state_dict(), **extras}.items()}, epoch=1)
    loaded = load_clip(str(path))
    check(loaded, theirs.image(pictures()), theirs.text(tokens()))
    assert loaded.preprocess.mean == pytest.approx((0.485, 0.456, 0.406))
    with pytest.raises(WeightMismatchError, match='in no architecture of open_clip'):
        load_clip('ViT-B-16', path)
    folder = tmp_path / 'folder'
    assert main(['convert', 'clip', str(path), str(folder)]) == 0
    again = load_clip(f'local-dir:{folder}')
    check(again, theirs.image(pictures()), theirs.text(tokens()))
    assert again.preprocess == loaded.preprocess


@torch.no_grad()
def test_transformers(tmp_path):
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    sizes = dict(hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=1)
    text = dict(**sizes, projection_dim=24, eos_token_id=49407, bos_token_id=49406)
    vision = dict(**sizes, image_size=32, patch_size=8, projection_dim=24)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    theirs = transformers.CLIPModel(config).eval()
    loaded = load_clip(str(saved(tmp_path, theirs.state_dict())))
    image = theirs.visual_projection(theirs.vision_model(pixel_values=pictures()).pooler_output)
    words = theirs.text_projection(theirs.text_model(input_ids=tokens()).pooler_output)
    check(loaded, image, words)


@torch.no_grad()
def test_maple_comes_with_its_prompts(tmp_path, clip, monkeypatch):
    torch.save(clip.state_dict(), tmp_path / 'base.pt')
    state = {f'image_encoder.{k}': v for k, v in clip.visual.state_dict().items()}
    text = ('transformer.', 'ln_final.', 'positional_embedding', 'text_projection')
    state |= {f'text_encoder.{k}': v for k, v in clip.state_dict().items() if k.startswith(text)}
    prompts = {'ctx': torch.randn(2, 64), 'proj.weight': torch.randn(64, 64), 'proj.bias': torch.randn(64)}
    prompts |= {'token_prefix': torch.zeros(3, 1, 64), 'compound_prompts_text.0': torch.randn(2, 64)}
    prompts |= {f'compound_prompt_projections.0.{k}': prompts[f'proj.{k}'] for k in ('weight', 'bias')}
    state |= {f'prompt_learner.{k}': v for k, v in prompts.items()} | {'logit_scale': clip.logit_scale.detach()}
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
    path = tmp_path / 'model.pth.tar-5'
    torch.save({'state_dict': state, 'epoch': 5, 'scheduler': {'successor': schedule}}, path)
    monkeypatch.setattr(open_clip, 'get_model_config', lambda name: CONFIG if name == 'Tiny' else None)
    arguments = ['--clip', 'Tiny', '--base', str(tmp_path / 'base.pt')]
    assert main(['convert', 'clip', str(path), str(tmp_path / 'folder'), *arguments]) == 0
    assert main(['convert', 'clip', str(path), str(tmp_path / 'folder'), *arguments]) == 2  # nothing is overwritten
    loaded = load_clip(f'local-dir:{tmp_path / "folder"}')
    assert loaded.deep_prompts.depth == 2 and torch.equal(loaded.deep_prompts.tokens[0], prompts['ctx'])
    first, deep = prompts['ctx'], prompts['compound_prompts_text.0']
    x = clip.token_embedding(tokens())
    x = torch.cat([x[:, :1], first.expand(2, -1, -1), x[:, 1:-2]], dim=1) + clip.positional_embedding
    for number, block in enumerate(clip.transformer.resblocks):
        if number == 1:
            x[:, 1:3] = deep
        x = block(x, attn_mask=clip.attn_mask)
    ends = tokens().argmax(dim=1) + 2
    words = clip.ln_final(x)[torch.arange(2), ends] @ clip.text_projection
    assert torch.allclose(loaded.text_tower().encode(TEXTS), words, atol=1e-4)
    model = build_module(
        dict(type='OpenVocabularySegmentor', clip=dict(model=f'local-dir:{tmp_path / "folder"}'), vocabulary='a; b')
    )
    assert model.eval().head_logits(pictures()).shape == (2, 2, 4, 4)


_APPLES_TRUNK = (
    (r'^stem', 'patch_embed'),
    (r'conv_kxk', 'rbr_conv'),
    (r'conv_scale', 'rbr_scale'),
    (r'\bidentity\b', 'rbr_skip'),
    (r'final_conv', 'conv_exp'),
    (r'large_conv', 'lkb_origin'),
    (r'\bmlp\b', 'convffn'),
    (r'se\.fc1', 'se.reduce'),
    (r'se\.fc2', 'se.expand'),
    (r'(layer_scale\w*)\.gamma', r'\1'),
    (r'^stages\.3\.pos_emb\.pos_enc', 'network.6.pe'),
    (r'^stages\.3\.blocks', 'network.7'),
    (r'^stages\.([012])\.blocks', lambda m: f'network.{2 * int(m[1])}'),
    (r'^stages\.([123])\.downsample\.proj', lambda m: f'network.{2 * int(m[1]) - 1}.proj'),
    (r'^head\.fc\.weight', 'head.proj'),
)
_APPLES_TEXT = (
    (r'^text_projection', 'projection_layer'),
    (r'^token_embedding', 'embedding_layer'),
    (r'^positional_embedding', 'positional_embedding.pos_embed.pos_embed'),
    (r'^ln_final', 'final_layer_norm'),
    (r'resblocks\.', ''),
    (r'ln_1', 'pre_norm_mha.0'),
    (r'attn\.in_proj_', 'pre_norm_mha.1.qkv_proj.'),
    (r'attn\.out', 'pre_norm_mha.1.out'),
    (r'ln_2', 'pre_norm_ffn.0'),
    (r'mlp\.c_fc', 'pre_norm_ffn.1'),
    (r'mlp\.c_proj', 'pre_norm_ffn.4'),
)
"""open_clip's names of MobileCLIP-S1 to those that Apple published first."""


@pytest.mark.slow
def test_apples_first_names(tmp_path):
    torch.manual_seed(0)
    own = open_clip.create_model('MobileCLIP-S1').state_dict()
    theirs = {}
    for name, value in own.items():
        tower = next((t for t in ('visual.trunk.', 'text.') if name.startswith(t)), '')
        new = name.removeprefix(tower)
        for pattern, with_what in {'visual.trunk.': _APPLES_TRUNK, 'text.': _APPLES_TEXT}.get(tower, ()):
            new = re.sub(pattern, with_what, new)
        value = value.T if new == 'head.proj' else value[None, None] if new.endswith('pos_embed.pos_embed') else value
        if new == 'head.fc.bias':
            value.zero_()
        else:
            theirs[{'visual.trunk.': 'image_encoder.model.', 'text.': 'text_encoder.'}.get(tower, '') + new] = value
    assert not any(name.startswith(('visual.', 'text.')) for name in theirs)
    loaded = load_clip('MobileCLIP-S1', saved(tmp_path, theirs)).model.state_dict()
    assert loaded.keys() == own.keys()
    assert all(torch.equal(loaded[name], value) for name, value in own.items())


def in_layout(kind, clip, folder):
    """A random file of a layout, and what ``denseclip convert clip`` needs to be told besides."""
    state = dict(clip.state_dict())
    if kind == 'plain':
        state = {f'class_model.model.{k}': v for k, v in state.items()}  # DIVA's trainer
    if kind == 'long_clip':
        state['positional_embedding_res'] = torch.randn_like(state['positional_embedding'])
    if kind == 'cloob':
        state['logit_inv_tau'] = state.pop('logit_scale')
    if kind == 'clipn':
        parts = ('transformer', 'token_embedding', 'positional_embedding', 'ln_final', 'text_projection')
        state |= {f'{p}_no{k[len(p) :]}': v + 1 for k, v in clip.state_dict().items() for p in parts if k.startswith(p)}
        state['prompt_no'] = torch.zeros(16, 77, 64)
    if kind == 'image_tower':
        torch.save(state, folder / 'base.pt')
        return dict(plain_clip(seed=5).visual.state_dict()), ['--clip', 'Tiny', '--base', str(folder / 'base.pt')]
    if kind == 'transformers':
        transformers = pytest.importorskip('transformers')
        sizes = dict(hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=1)
        text = dict(**sizes, eos_token_id=49407, bos_token_id=49406)
        vision = dict(**sizes, image_size=32, patch_size=8)
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
        state = transformers.CLIPModel(config).state_dict()
    return state, []


FOLDERS = ('plain', 'long_clip', 'cloob', 'clipn', 'image_tower', 'transformers')


@pytest.mark.parametrize('kind', FOLDERS)
@torch.no_grad()
def test_every_layout_becomes_a_folder_that_gives_what_the_file_gives(tmp_path, clip, kind, monkeypatch):
    known = open_clip.get_model_config
    monkeypatch.setattr(open_clip, 'get_model_config', lambda name: CONFIG if name == 'Tiny' else known(name))
    state, more = in_layout(kind, clip, tmp_path)
    path = saved(tmp_path, state, epoch=1)
    assert main(['convert', 'clip', str(path), str(tmp_path / 'folder'), *more]) == 0
    direct = load_clip('Tiny', path, base=tmp_path / 'base.pt') if more else load_clip(str(path))
    again = load_clip(f'local-dir:{tmp_path / "folder"}')
    check(again, direct.model.encode_image(pictures()), direct.text_tower().encode(TEXTS))
    assert torch.equal(again.model.logit_scale, direct.model.logit_scale)
    assert (tmp_path / 'folder' / 'no_text.safetensors').is_file() is (kind == 'clipn')


def test_no_layout_is_forgotten():
    """Those of SLIP and MaPLe become folders in tests of their own."""
    assert {row.layout for row in KNOWN} == {*FOLDERS, 'slip', 'maple'}
    assert {layout.name for layout in LAYOUTS} <= {*FOLDERS, 'slip', 'maple'}


def test_every_known_row_can_be_used():
    layouts = {layout.name for layout in LAYOUTS} | {'plain'}
    assert len({row.name for row in KNOWN}) == len(KNOWN)
    for row in KNOWN:
        assert row.layout in layouts and row.source.startswith('https://'), row.name
        if row.architecture != '-':
            assert open_clip.get_model_config(row.architecture) is not None, row.name
            tags = open_clip.list_pretrained_tags_by_model(row.architecture)
            assert row.base is None or row.base in tags, row.name
        entry = load_clip.__globals__['file_settings'](None, [], tag=row.name)
        assert entry.quick_gelu is row.quick_gelu and len(entry.preprocess['mean']) == 3


def test_the_documentation_lists_all_of_them():
    text = (Path(__file__).parents[2] / 'docs' / 'towers.md').read_text(encoding='utf-8')
    rows = [line.split(' | ') for line in text.splitlines() if line.startswith('| `') and 'https://' in line]
    told = [(cells[0].strip('| `'), cells[2], cells[3] == 'QuickGELU', cells[5]) for cells in rows]
    assert told == [(row.name, row.layout, row.quick_gelu, row.licence) for row in KNOWN]


def test_a_known_name_decides_what_the_tensors_do_not_say(tmp_path, clip, recwarn):
    path = saved(tmp_path, clip.state_dict())
    loaded = load_clip(str(path), tag='clipn')
    assert read_family(path, tag='laclip').config['quick_gelu'] is True
    assert loaded.config['quick_gelu'] is False
    assert not [w for w in recwarn if re.search('which activation', str(w.message))]
    assert read_clip(path).meta['clip_layout'] == 'plain'
    assert F.cosine_similarity(clip.logit_scale[None], loaded.model.logit_scale[None], dim=0) == 1

"""Contrastive pretraining: the loss and its negatives, several processes, export, devices."""

import json
import multiprocessing

import pytest
import torch
import torch.nn.functional as F
from device_safety import fake_cuda, meta_device, move_to_fake_cuda
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import BaseDataElement
from torch import distributed as dist

from denseclip.clip import TextBank, load_clip
from denseclip.clip.small_bpe import bpe_file, merges_for, small_tokenizer, word_list
from denseclip.clip.text.tokenizers import default_bpe
from denseclip.models.functional.contrastive import contrastive_loss, gather_pairs
from denseclip.models.pretraining import ContrastiveCLIP, export_pretrained
from denseclip.models.pretraining.contrastive import clamp_scale, group_ids

SCALE = torch.tensor(10.0)
ARCHITECTURE = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=32, patch_size=8, width=32, layers=2, head_width=16),
    text_cfg=dict(context_length=24, width=16, heads=2, layers=1),
)
CONFIG = dict(
    type='ContrastiveCLIP',
    architecture=ARCHITECTURE,
    words='miniworld',
    data_preprocessor=dict(
        type='ImgDataPreprocessor', mean=[120.0, 115.0, 104.0], std=[68.0, 66.0, 70.0], bgr_to_rgb=True
    ),
)
CAPTIONS = ['a red ball on grass', 'two blue mugs under sky', 'a red ball on grass', 'a nut with a scratch']


def model(seed: int = 0) -> ContrastiveCLIP:
    torch.manual_seed(seed)
    return ContrastiveCLIP(**{k: v for k, v in CONFIG.items() if k != 'type'})


def samples(captions=CAPTIONS, groups=None):
    return [
        BaseDataElement(metainfo=dict(caption=c, caption_group=g))
        for c, g in zip(captions, groups or captions, strict=True)
    ]


def pairs(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(F.normalize(torch.randn(count, 8, generator=generator, dtype=torch.float64), dim=1) for _ in range(2))


def by_hand(images, texts, groups):
    total = 0.0
    for i in range(len(images)):
        for a, b in ((images, texts), (texts, images)):
            keep = [j for j in range(len(images)) if j == i or groups[j] != groups[i]]
            scores = torch.stack([SCALE * a[i] @ b[j] for j in keep])
            total = total - torch.log_softmax(scores, 0)[keep.index(i)]
    return total / (2 * len(images))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(0, 99))
def test_loss_is_the_sum_over_true_negatives(groups, seed):
    images, texts = pairs(len(groups), seed)
    found = contrastive_loss(images, texts, SCALE, torch.tensor(groups))
    torch.testing.assert_close(found, by_hand(images, texts, groups))


def test_loss_is_clips_where_all_differ_and_ignores_order_and_swapping():
    images, texts = pairs(6)
    groups = torch.arange(6)
    loss = contrastive_loss(images, texts, SCALE, groups)
    torch.testing.assert_close(loss, contrastive_loss(images, texts, SCALE))
    order = torch.randperm(6)
    torch.testing.assert_close(loss, contrastive_loss(images[order], texts[order], SCALE, groups[order]))
    torch.testing.assert_close(loss, contrastive_loss(texts, images, SCALE, groups))


def test_perfect_pairs_cost_nothing_and_one_group_costs_nothing():
    eye = torch.eye(5)
    assert contrastive_loss(eye, eye, torch.tensor(100.0)) < 1e-6
    images, texts = pairs(5)
    assert contrastive_loss(images, texts, SCALE, torch.zeros(5, dtype=torch.long)) == 0


def test_duplicates_are_pushed_apart_only_without_groups():
    images, texts = pairs(2)
    texts = texts[:1].repeat(2, 1)
    for groups, moved in ((None, True), (torch.tensor([4, 4]), False)):
        images.requires_grad_()
        (gradient,) = torch.autograd.grad(contrastive_loss(images, texts, SCALE, groups) * 1.0, images)
        assert bool(gradient.abs().max() > 1e-6) == moved or groups is None


def test_group_ids_are_equal_where_strings_are():
    ids = group_ids(['a', 'b', 'a', 'é'])
    assert ids[0] == ids[2] and len(set(ids.tolist())) == 3 and (ids >= 0).all()


def _rank(rank: int, init: str, state, data, queue) -> None:
    dist.init_process_group('gloo', init_method=init, rank=rank, world_size=2)
    part = slice(rank * 2, rank * 2 + 2)
    clip = model()
    clip.load_state_dict(state)
    replica = torch.nn.parallel.DistributedDataParallel(clip, find_unused_parameters=True)
    loss = replica(data[part], samples(CAPTIONS[part]), mode='loss')['loss']
    loss.backward()
    queue.put((rank, loss.item(), {n: p.grad.numpy() for n, p in clip.named_parameters() if p.grad is not None}))
    queue.close()
    queue.join_thread()
    dist.destroy_process_group()


@pytest.mark.skipif(torch.cuda.is_available(), reason='forks, which CUDA forbids')
def test_two_processes_give_the_loss_and_gradients_of_one(tmp_path):
    clip, data = model(), torch.randn(4, 3, 32, 32)
    loss = clip(data, samples(), mode='loss')['loss']
    loss.backward()
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    state = {k: v.detach().clone() for k, v in clip.state_dict().items()}
    args = (f'file://{tmp_path / "store"}', state, data, queue)
    processes = [context.Process(target=_rank, args=(rank, *args)) for rank in range(2)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=200) for _ in range(2)]
    for process in processes:
        process.join()
    for _, other, gradients in results:
        assert other == pytest.approx(loss.item(), rel=1e-5)
        for name, parameter in clip.named_parameters():
            torch.testing.assert_close(torch.from_numpy(gradients[name]), parameter.grad, rtol=1e-4, atol=1e-6)


def test_one_process_gathers_nothing():
    images, texts = pairs(3)
    groups = torch.arange(3)
    assert all(a is b for a, b in zip(gather_pairs(images, texts, groups), (images, texts, groups), strict=True))


def test_text_of_any_length_gives_open_clips_embedding():
    clip = model().eval()
    tokens = clip.tokenize(CAPTIONS)
    assert tokens.shape[1] < 24
    padded = F.pad(tokens, (0, 24 - tokens.shape[1]))
    texts = clip.embed(torch.zeros(4, 3, 32, 32), tokens)[1]
    torch.testing.assert_close(texts, F.normalize(clip.clip.encode_text(padded), dim=-1))
    long = clip.tokenize(['red ' * 60])
    assert long.shape == (1, 24) and long[0, -1] == long.max()


def test_all_parameters_learn_and_the_loss_falls():
    clip, data = model().train(), torch.randn(4, 3, 32, 32)
    optimizer = torch.optim.AdamW(clip.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        answer = clip(data, samples(), mode='loss')
        optimizer.zero_grad()
        answer['loss'].backward()
        assert all(p.grad is not None for p in clip.parameters())
        optimizer.step()
        losses.append(answer['loss'].item())
    assert losses[-1] < 0.5 * losses[0]
    assert clip(data, samples(), mode='loss')['accuracy'] == 1


def test_the_scale_is_put_back_into_its_range_and_learns_there():
    clip = model().train()
    clip.clip.logit_scale.data.fill_(-1.0)
    clamp_scale(clip.clip)
    assert clip.clip.logit_scale.item() == 0.0
    clip.clip.logit_scale.data.fill_(7.0)
    answer = clip(torch.randn(4, 3, 32, 32), samples(), mode='loss')
    assert answer['scale'].item() == pytest.approx(100.0, rel=1e-5)
    answer['loss'].backward()
    assert clip.clip.logit_scale.grad.item() != 0
    clip.clip.logit_scale.data.fill_(7.0)
    assert clip.state_dict()['clip.logit_scale'].item() == pytest.approx(4.60517)


def test_predictions_are_embeddings_of_unit_length():
    answer = model().eval()(torch.randn(4, 3, 32, 32), samples(), mode='predict')
    for sample in answer:
        for key in ('image_embedding', 'text_embedding'):
            assert float(sample.get(key).norm()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(answer[0].text_embedding, answer[2].text_embedding)
    with pytest.raises(ValueError, match='PackCaption'):
        model()(torch.randn(1, 3, 32, 32), None, mode='loss')


def test_fake_cuda_and_meta():
    clip = model().train()
    with fake_cuda() as mode:
        move_to_fake_cuda(clip, mode)
        answer = clip(torch.randn(4, 3, 32, 32), samples(), mode='loss')
        assert answer['loss'].device.type == 'cuda'
    clip = model().to('meta').train()
    with meta_device():
        clip(torch.randn(4, 3, 32, 32), samples(), mode='loss')['loss'].backward()
    assert all(p.grad is not None for p in clip.parameters())


# --- small byte-pair vocabulary -------------------------------------------------------------------------------------


def test_kept_words_are_split_as_clip_splits_them_and_others_are_still_encoded():
    small, full = small_tokenizer('miniworld'), default_bpe()
    assert small.vocab_size < 1500
    for word in word_list('miniworld'):
        assert [small.decoder[i] for i in small.encode(word)] == [full.decoder[i] for i in full.encode(word)], word
    for strange in ('xylophone', 'naïve café', '東京 42'):
        assert small.decode(small.encode(strange)).strip() == full.decode(full.encode(strange)).strip()
    assert small.eot_token_id == small.vocab_size - 1  # the highest id: CLIP's pooling finds it


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text('abcdefghijklmnopqrstuvwxyz', min_size=1, max_size=10), min_size=1, max_size=4))
def test_any_word_keeps_its_pieces(words):
    kept = set(merges_for(words))
    ranks = [default_bpe().bpe_ranks[m] for m in merges_for(words)]
    assert ranks == sorted(ranks) and len(kept) == len(ranks)
    assert bpe_file(words) == bpe_file(words[::-1])


def test_an_unknown_word_list_is_named():
    with pytest.raises(ValueError, match="'klingon'.*miniworld"):
        word_list('klingon')


# --- export ---------------------------------------------------------------------------------------------------------


def test_an_exported_clip_loads_and_answers_as_in_training(tmp_path):
    clip = model().eval()
    path = export_pretrained(CONFIG, clip.state_dict(), tmp_path / 'clip', half=False)
    assert path.name == 'open_clip_model.safetensors'
    loaded = load_clip(f'local-dir:{tmp_path / "clip"}')
    assert loaded.preprocess.size == (32, 32)
    assert loaded.preprocess.as_255()['std'] == pytest.approx([68.0, 66.0, 70.0])
    texts = F.normalize(loaded.text_tower().encode(CAPTIONS), dim=-1)
    pictures = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        wanted = clip.embed(pictures, clip.tokenize(CAPTIONS))
        found = loaded.image_tower()(pictures)
    torch.testing.assert_close(texts, wanted[1])
    torch.testing.assert_close(F.normalize(found.pooled, dim=-1), wanted[0])
    assert TextBank(loaded.text_tower()).encode('ball; any word at all').embeddings.shape == (2, 16)
    config = json.loads((tmp_path / 'clip' / 'open_clip_config.json').read_text())
    assert config['model_cfg']['text_cfg']['tokenizer_kwargs'] == {'bpe_path': 'bpe.txt.gz'}


def test_half_precision_halves_the_file_and_hardly_moves_the_answer(tmp_path):
    clip = model().eval()
    full = export_pretrained(CONFIG, clip.state_dict(), tmp_path / 'full', half=False)
    half = export_pretrained(CONFIG, clip.state_dict(), tmp_path / 'half')
    assert half.stat().st_size < 0.75 * full.stat().st_size
    texts = [
        F.normalize(load_clip(f'local-dir:{p.parent}').text_tower().encode(CAPTIONS), dim=-1) for p in (full, half)
    ]
    torch.testing.assert_close(*texts, atol=2e-3, rtol=0)


def test_what_cannot_be_exported_is_named(tmp_path):
    with pytest.raises(ValueError, match='ImgDataPreprocessor'):
        export_pretrained(dict(type='ImgDataPreprocessor'), {}, tmp_path)

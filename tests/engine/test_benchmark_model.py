"""Benchmarks of whole models and of the text side on networks of toy size."""

from pathlib import Path

import pytest
import torch

from denseclip.engine.benchmark import ModelOptions, TextOptions, benchmark_model, benchmark_text
from denseclip.engine.benchmark.flops import count_flops
from denseclip.engine.benchmark.model import _flops
from denseclip.engine.benchmark.tables import count_parameters
from denseclip.engine.benchmark.variants import variant
from denseclip.engine.benchmark.workload import Workload
from denseclip.engine.config import OptionError

MODEL = """
default_scope = 'mmseg'
model = dict(
    type='DenseCLIP',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[64.0] * 3, size=(64, 64)),
    backbone=dict(type='CLIPResNet', layers=(1, 1, 1, 1), width=8, embed_dim=16, input_resolution=64, heads=4),
    text_encoder=dict(
        type='CLIPTextContextEncoder', embed_dim=16, transformer_width=16, transformer_heads=2, transformer_layers=2
    ),
    vocabulary='road; sky; tree; car; person',
    context_decoder=dict(
        type='ContextDecoder', visual_dim=16, transformer_width=16, transformer_heads=2, transformer_layers=1
    ),
    neck=dict(type='FPN', in_channels=[32, 64, 128, 256 + 5], out_channels=8, num_outs=4),
    decode_head=dict(
        type='FPNHead', in_channels=[8] * 4, in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32], channels=8,
        dropout_ratio=0.1, num_classes=5, norm_cfg=dict(type='SyncBN'), align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32), window_batch=4),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
"""


@pytest.fixture(scope='module')
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp('benchmark') / 'tiny_denseclip.py'
    path.write_text(MODEL)
    return str(path)


@pytest.fixture(scope='module')
def work(config: str) -> Workload:
    return Workload(ModelOptions(config, shape=(64, 96)))


def test_plain_and_fast_predictions_are_equal(config):
    report = benchmark_model(
        ModelOptions(config, shape=(64, 96)), against_plain=True, repeats=1, warmup=0, memory=False
    )
    tables = {table.title: table for table in report.tables}
    compared = {row[0]: row[1:] for row in tables['Plain against ours'].rows}
    assert report.equal is True
    assert compared['label map'][:2] == [0, 64 * 96]
    assert compared['text embeddings'][:2] == [0, 5 * 16]
    times = {row[0]: row[1:] for row in tables['Time (milliseconds, median)'].rows}
    assert {'preprocessing', 'text', 'tower', 'neck and head', 'post-processing', 'total'} <= set(times)
    assert all(len(values) == 3 for values in times.values())


def test_without_a_baseline_there_is_one_column(config):
    report = benchmark_model(ModelOptions(config, shape=(64, 64)), repeats=1, warmup=0, memory=False)
    assert report.equal is None
    assert [table.columns for table in report.tables if table.title.startswith('Time')] == [('stage', 'ours')]
    assert 'K=5' in report.title and '1 x 64x64' in report.title


def test_a_training_step_has_its_own_stages(config):
    options = ModelOptions(config, shape=(64, 64), batch_size=2, train=True)
    report = benchmark_model(options, against_plain=True, repeats=1, warmup=0, memory=False)
    table = next(table for table in report.tables if table.title.startswith('Time'))
    assert report.equal is True
    assert {'text', 'tower', 'neck, heads and losses', 'backward', 'optimizer'} <= {row[0] for row in table.rows}


def test_the_plain_version_encodes_text_per_window_and_ours_once(work):
    encoder, calls = work.model.text_encoder, []
    encoder.register_forward_hook(lambda *_: calls.append(1))
    for name, expected in (('plain', 2), ('plain', 2), ('ours', 1), ('ours', 0)):
        calls.clear()
        with variant(work.model, name):
            work.step()
        assert len(calls) == expected, name
    assert work.model.class_text.caching is True
    assert work.model.keep_logits is False
    assert work.model.test_cfg.window_batch == 4


def test_only_the_plain_version_keeps_logits(work):
    with variant(work.model, 'plain'):
        assert work.step()[0].seg_logits.data.shape == (5, 64, 96)
    assert 'seg_logits' not in work.step()[0]


def test_text_operations_are_those_of_the_prompts(work):
    """Two layers over 5 prompts of start, 8 contexts, word, end: 11 tokens of width 16, then the projection."""
    model = work.model
    model.class_text.clear()
    first = count_flops(work.step, model.class_text)
    cached = count_flops(work.step, model.class_text)
    tokens = 11
    per_layer = 2 * 5 * tokens * 12 * 16**2 + 2 * 2 * 5 * tokens**2 * 16
    assert model.class_text.tokens.shape == (5, 3)
    assert first.text == 2 * per_layer + 2 * 5 * 16 * 16
    assert cached.text == 0
    assert cached.image == first.image > 0


def test_contexts_made_from_the_picture_are_counted_too(config, tmp_path):
    path = tmp_path / 'pre.py'
    decoder = 'context_decoder=dict(query_dim=16, out_dim=16)'
    path.write_text(f"_base_ = '{config}'\nmodel = dict(prompting='pre', {decoder})")
    work = Workload(ModelOptions(str(path), shape=(64, 64)))
    trained = [name for name, p in work.model.named_parameters() if p.requires_grad]
    flops = _flops(work, ['ours'])['ours']
    assert flops.text > 0 and flops.image > 0
    assert trained == [name for name, p in work.model.named_parameters() if p.requires_grad] and trained


def test_parameters_are_counted_once_by_part(work):
    counts = count_parameters(work.model)
    parts = [total for name, (total, _) in counts.items() if name not in ('all', 'without text encoder')]
    assert sum(parts) == counts['all'][0] == sum(p.numel() for p in work.model.parameters())
    assert counts['text_encoder'][1] == 0
    assert counts['all'][0] - counts['without text encoder'][0] == counts['text_encoder'][0]


def test_another_vocabulary_of_the_same_size(config):
    model = Workload(ModelOptions(config, vocabulary='a; b; c; d; e')).model
    assert model.vocabulary.names == ('a', 'b', 'c', 'd', 'e')


def test_a_checkpoint_must_fit(config, tmp_path, work):
    path = tmp_path / 'weights.pth'
    state = {name: torch.full_like(value, 0.5) for name, value in work.model.state_dict().items()}
    torch.save({'state_dict': state}, path)
    model = Workload(ModelOptions(config, checkpoint=str(path))).model
    assert all(bool((p == 0.5).all()) for p in model.parameters())
    state.pop('gamma')
    torch.save({'state_dict': state}, path)
    with pytest.raises(Exception, match='gamma'):
        Workload(ModelOptions(config, checkpoint=str(path)))


def test_a_model_without_text_has_no_plain_version():
    options = ModelOptions(str(Path(__file__).with_name('toy_fpn.py')), shape=(32, 32))
    with pytest.raises(OptionError, match='it is the plain version'):
        benchmark_model(options, against_plain=True, repeats=1, warmup=0, memory=False)
    report = benchmark_model(options, repeats=1, warmup=0, memory=False)
    operations = next(table for table in report.tables if table.title.startswith('Operations'))
    assert operations.rows[1] == ['text when encoded, GFLOP', 0.0]


def test_a_vocabulary_for_fixed_classes_is_refused():
    with pytest.raises(OptionError, match='fixed classes'):
        Workload(ModelOptions(str(Path(__file__).with_name('toy_fpn.py')), vocabulary='a; b'))


@pytest.fixture
def small_text_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    from open_clip import get_model_config

    def config(name: str):
        found = get_model_config(name)
        if found and 'hf_model_name' not in found['text_cfg']:
            found['text_cfg'].update(width=32, heads=2, layers=2)
        return found

    monkeypatch.setattr('denseclip.engine.benchmark.text.open_clip.get_model_config', config)


@pytest.mark.usefixtures('small_text_tower')
def test_text_at_true_length_agrees_and_the_second_load_runs_no_tower():
    report = benchmark_text(TextOptions(prompts=30, batch_size=8), against_plain=True)
    lengths, embeddings, loads = report.tables
    assert report.equal is True
    assert [row[0] for row in lengths.rows] == ['ours', 'plain', 'ratio']
    assert float(embeddings.rows[0][1]) < 1e-5
    assert [row[2] for row in loads.rows] == [4, 0, 0]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (TextOptions(model='ViT-B-61'), "no architecture 'ViT-B-61'; nearest: ViT-B-16"),
        (TextOptions(model='xlm-roberta-base-ViT-B-32'), 'not causal'),
        (TextOptions(prompts=10**6), 'prompts only'),
    ],
)
@pytest.mark.usefixtures('small_text_tower')
def test_text_options_that_cannot_be_measured(options, message):
    with pytest.raises(OptionError, match=message):
        benchmark_text(options)


OPEN_VOCABULARY = """
default_scope = 'mmseg'
model = dict(
    type='OpenVocabularySegmentor',
    clip=dict(
        model='ViT-B-16', pretrained='openai', preset='maskclip',
        arch=dict(
            embed_dim=16, vision_cfg=dict(image_size=64, layers=2, width=32, head_width=8),
            text_cfg=dict(width=16, heads=2, layers=1),
        ),
    ),
    vocabulary='road; sky; tree; car; person', templates='plain',
    test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32), window_batch=4),
)
"""


def test_open_vocabulary_against_the_plain_order_of_operations(tmp_path: Path) -> None:
    path = tmp_path / 'tiny_maskclip.py'
    path.write_text(OPEN_VOCABULARY)
    options = ModelOptions(str(path), shape=(64, 96))
    work = Workload(options)
    assert work.num_classes == 5
    before = dict(work.model.test_cfg), work.model.keep_logits
    fast = count_flops(work.step)
    with variant(work.model, 'plain'):
        plain = count_flops(work.step)
        assert 'seg_logits' in work.step()[0]
    assert plain.image > 1.3 * fast.image  # of two blocks the last one runs in full, and once more by value
    assert (dict(work.model.test_cfg), work.model.keep_logits) == before
    report = benchmark_model(options, against_plain=True, repeats=1, warmup=0, memory=False)
    assert report.equal

"""Clock, counters and tables of the benchmark: what they claim, not how fast anything is."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from denseclip.clip.text import CLIPTextTower
from denseclip.engine.benchmark.ceiling import MatrixProduct
from denseclip.engine.benchmark.flops import count_flops
from denseclip.engine.benchmark.label_map import LabelMapOptions, benchmark_label_map, prepare_label_map
from denseclip.engine.benchmark.memory import peak_memory
from denseclip.engine.benchmark.patching import find, wrapped
from denseclip.engine.benchmark.report import Report
from denseclip.engine.benchmark.stages import OTHER, StageClock
from denseclip.engine.benchmark.timing import Samples, in_turn


def test_cases_run_in_turn_and_only_counting_rounds_are_kept():
    calls = []
    samples = in_turn({'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, repeats=3, warmup=1)
    assert calls == ['a', 'b'] * 4
    assert {name: len(s.seconds) for name, s in samples.items()} == {'a': 3, 'b': 3}


def test_no_repetition_is_refused():
    with pytest.raises(ValueError, match='repeats must be at least 1'):
        in_turn({'a': lambda: None}, repeats=0)


def test_median_and_fastest():
    samples = Samples((5.0, 1.0, 9.0))
    assert (samples.median, samples.fastest) == (5.0, 1.0)


class TwoStages(nn.Module):
    """Calls its inner module the way MMSegmentation's heads are called: without hooks."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()

    def forward(self, x):
        return self.inner.forward(x)


def test_stages_are_exclusive_and_the_model_is_left_as_it_was(monkeypatch):
    """With a clock that ticks once per look, each stage gets the ticks of its own borders only."""
    ticks = iter(range(100))
    monkeypatch.setattr('denseclip.engine.benchmark.stages.time.perf_counter', lambda: float(next(ticks)))
    model, clock = TwoStages(), StageClock()
    with clock.watch([(model, 'forward', 'outer'), (model.inner, 'forward', 'inner'), (None, 'forward', 'absent')]):
        model(torch.zeros(1))
    assert clock.runs == [{OTHER: 2.0, 'outer': 2.0, 'inner': 1.0}]
    assert 'forward' not in vars(model) and 'forward' not in vars(model.inner)


def test_a_stage_that_fails_is_left_behind():
    model, clock = TwoStages(), StageClock()
    with pytest.raises(TypeError), clock.watch([(model, 'forward', 'outer')]):
        model()
    assert not clock._stack and 'forward' not in vars(model)


def test_a_method_set_on_the_object_itself_is_restored():
    model = nn.Identity()
    model.forward = own = lambda x: x + 1
    with wrapped(model, 'forward', lambda method: lambda x: 10 * method(x)):
        assert model(1) == 20
    assert model.forward is own


def test_find_follows_dots_and_tolerates_gaps():
    model = TwoStages()
    assert find(model, '') is model
    assert find(model, 'inner') is model.inner
    assert find(model, 'missing.child') is None


def test_flops_of_convolution_and_matrix_product():
    conv, x = nn.Conv2d(3, 8, 5, stride=2, padding=2), torch.zeros(2, 3, 20, 30)
    assert count_flops(lambda: conv(x)).image == 2 * 2 * 8 * (3 * 5 * 5) * 10 * 15
    assert count_flops(MatrixProduct()).total == MatrixProduct().flops


@pytest.mark.parametrize('causal', [False, True])
def test_flops_of_fused_attention(causal):
    q = torch.zeros(2, 4, 50, 16)
    counted = count_flops(lambda: F.scaled_dot_product_attention(q, q, q, is_causal=causal))
    assert counted.total == 2 * (2 * 2 * 4 * 50 * 50 * 16)


def test_flops_of_the_fused_inference_kernel_of_multi_head_attention():
    attention, x = nn.MultiheadAttention(32, 4, batch_first=True).eval(), torch.zeros(2, 9, 32)
    with torch.no_grad():
        counted = count_flops(lambda: attention(x, x, x, need_weights=False))
    assert counted.total == 2 * 2 * 9 * 32 * 4 * 32 + 2 * 2 * 2 * 9 * 9 * 32


def test_flops_of_text_against_the_closed_form():
    width, layers, embed, prompts = 32, 3, 16, 7
    tower = CLIPTextTower.create(context_length=13, width=width, heads=2, layers=layers, embed_dim=embed).eval()
    tokens, contexts = torch.randint(1, 99, (prompts, 5)), torch.zeros(1, 8, width)
    linear = nn.Linear(10, 10)

    class Text(nn.Module):
        def forward(self):
            return tower.encode_tokens(tokens, contexts)

    text = Text()
    with torch.no_grad():
        counted = count_flops(lambda: (text(), linear(torch.zeros(1, 10))), text)
    length = 13
    per_layer = 2 * prompts * length * 12 * width**2 + 2 * 2 * prompts * length**2 * width
    assert counted.text == layers * per_layer + 2 * prompts * width * embed
    assert counted.image == 2 * 10 * 10


def test_reports_as_markdown_and_json(tmp_path):
    report = Report('Title', 'machine', equal=True, command='python x.py')
    table = report.table('Numbers', 'name', 'a', 'b')
    table.add('first', 1234.5, None)
    table.add('second', 0.12345, 7)
    text = report.markdown()
    assert '| first  | 1,234 |' in text and '| second | 0.123 | 7 |' in text
    assert 'Results of both versions are equal.' in text and 'python x.py' in text
    report.write(tmp_path / 'r.json')
    report.write(tmp_path / 'r.md')
    assert json.loads((tmp_path / 'r.json').read_text())['tables'][0]['rows'][0] == ['first', 1234.5, None]
    assert (tmp_path / 'r.md').read_text() == text


def test_a_difference_is_said_loudly():
    assert 'DIFFER' in Report('t', 'm', equal=False).markdown()
    assert 'versions' not in Report('t', 'm').markdown()


def test_label_maps_of_both_versions_are_equal():
    options = LabelMapOptions(classes=9, size=(40, 50), input_size=(32, 44))
    report = benchmark_label_map(options, against_plain=True, repeats=1, warmup=0, memory=False)
    assert report.equal is True
    assert [row[0] for row in report.tables[0].rows] == ['ours', 'plain', 'ratio']
    assert report.title == 'Label map: K=9, 8x11 -> 32x44 -> 40x50'


@pytest.mark.slow
def test_peak_memory_is_measured_in_a_process_of_its_own():
    """Full logits of 200 x 300 x 400 floats are 92 MiB; the chunked map holds 16 MiB of them at a time.

    Allocators keep what they have freed, more or less of it from one machine to the next, hence the wide bounds.
    """
    options = LabelMapOptions(classes=200, size=(300, 400), threads=1)
    with ThreadPoolExecutor() as pool:
        full, chunked = pool.map(lambda name: peak_memory(prepare_label_map, options, name), ('plain', 'ours'))
    assert full.before > 0 and full.peak > full.before
    assert 90 * 2**20 < full.extra < 200 * 2**20
    assert 15 * 2**20 < chunked.extra < 0.6 * full.extra

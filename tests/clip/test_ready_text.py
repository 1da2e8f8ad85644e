"""Embeddings from a file instead of a text tower, and LLM2CLIP's adaptor for states of a language model."""

import pytest
import torch
import torch.nn.functional as F
from tiny_open_vocab import tiny_open_vocab
from torch import nn

from denseclip.clip.ready_text import ReadyTextBank, write_ready_text
from denseclip.clip.text.llm_adaptor import LLMAdaptor, read_adaptor
from denseclip.clip.text_bank import TextBank
from denseclip.weights import WeightFileError, WeightMismatchError, write_safetensors

NAMES = ['Road', 'car', 'automobile', 'night  sky']
SPACE = 'a tower'


def rows(width=16, seed=0):
    return 3 * torch.randn(len(NAMES), width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def file(tmp_path):
    return write_ready_text(tmp_path / 'words.safetensors', NAMES, rows(), SPACE)


def test_names_are_looked_up_and_merged_as_by_a_tower(file):
    bank, unit = TextBank.from_file(file, SPACE), F.normalize(rows(), dim=1)
    found = bank.encode('night sky; car = automobile; road')
    assert found.names == ('night sky', 'car', 'road')
    car = F.normalize(unit[1] + unit[2], dim=0)
    assert torch.allclose(found.embeddings, torch.stack([unit[3], car, unit[0]]), atol=1e-6)
    best = TextBank.from_file(file, SPACE, 'max').encode('night sky; car = automobile')
    assert best.merge == 'max' and torch.allclose(best.embeddings, unit[[3, 1, 2]], atol=1e-6)


def test_another_space_and_unknown_names_are_refused(file):
    with pytest.raises(ValueError, match=r"'a tower', not of 'another'"):
        TextBank.from_file(file, 'another')
    with pytest.raises(ValueError, match=r"no embedding of 'cars'.*did you mean 'car'"):
        TextBank.from_file(file, SPACE).encode('road; cars')


def test_a_model_takes_them_and_refuses_those_of_another_size(file):
    model, image = tiny_open_vocab('maskclip'), torch.randn(1, 3, 64, 64)
    words = 'road; night sky'
    model.set_class_embeddings(TextBank.from_file(file, SPACE).encode(words).embeddings, words)
    with torch.no_grad():
        scores = model.head_logits(image)
        units = F.normalize(model.dense_features(image), dim=1)
    cosines = torch.einsum('nehw,ke->nkhw', units, F.normalize(rows()[[0, 3]], dim=1))
    assert torch.allclose(scores, (model.scale * cosines).softmax(dim=1), atol=1e-5)
    with pytest.raises(ValueError, match='has 16 dimensions'):
        model.set_class_embeddings(torch.ones(2, 8), words)
    assert model.dataset_meta['classes'] == ('road', 'night sky')


@pytest.mark.parametrize(
    ('names', 'numbers', 'message'),
    [
        (['a', 'A '], torch.ones(2, 3), "'a' comes twice"),
        (['a'], torch.zeros(1, 3), "row of 'a' is zero"),
        (['a', 'b'], torch.ones(1, 3), 'one row a name'),
        (['a'], torch.tensor([[1.0, float('inf')]]), "row of 'a'"),
    ],
)
def test_what_cannot_be_used(names, numbers, message):
    with pytest.raises(ValueError, match=message):
        ReadyTextBank(names, numbers, SPACE)


def test_files_of_other_kinds(tmp_path, file):
    other = write_safetensors({'weight': torch.ones(1)}, tmp_path / 'other.safetensors')
    with pytest.raises(WeightFileError, match='no file of text embeddings'):
        TextBank.from_file(other, SPACE)
    with pytest.raises(FileNotFoundError):
        TextBank.from_file(tmp_path / 'gone.safetensors', SPACE)


class _TextProj(nn.Module):
    """The authors' adaptor, written down from its description."""

    def __init__(self, width, out, factor=2, count=4):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(count))
        self.up = nn.ModuleList(nn.Linear(width, factor * width) for _ in range(count))
        self.down = nn.ModuleList(nn.Linear(factor * width, width) for _ in range(count))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, out)

    def forward(self, x):
        for norm, up, down in zip(self.norms, self.up, self.down, strict=True):
            x = x + down(F.gelu(up(norm(x))))
        return F.normalize(self.out(self.norm(x)), dim=-1)

    def named(self, prefix):
        state = {}
        for i, parts in enumerate(zip(self.norms, self.up, self.down, strict=True)):
            for name, part in zip(('ln', 'fn.0', 'fn.3'), parts, strict=True):
                state |= {f'{prefix}{i}.{name}.{k}': v for k, v in part.state_dict().items()}
        for i, part in enumerate((self.norm, self.out), start=len(self.norms)):
            state |= {f'{prefix}{i}.{k}': v for k, v in part.state_dict().items()}
        return state


@pytest.mark.parametrize(('prefix', 'count'), [('text.text_adaptor.', 4), ('text_adaptor.', 2), ('', 1)])
@torch.no_grad()
def test_the_adaptor_of_llm2clip(tmp_path, prefix, count):
    torch.manual_seed(0)
    theirs = _TextProj(20, 16, count=count)
    torch.save({'state_dict': {**theirs.named(prefix), 'visual.cls_token': torch.zeros(1)}}, tmp_path / 'llm2clip.pt')
    states = rows(20)
    assert torch.allclose(read_adaptor(tmp_path / 'llm2clip.pt')(states), theirs(states), atol=1e-6)
    file = write_ready_text(tmp_path / 'states.safetensors', NAMES, states, SPACE)
    bank = TextBank.from_file(file, SPACE, adaptor=tmp_path / 'llm2clip.pt')
    assert torch.allclose(bank.encode('road').embeddings, theirs(states)[:1], atol=1e-6)
    with pytest.raises(WeightMismatchError, match='no adaptor'):
        LLMAdaptor.of_state({'visual.cls_token': torch.zeros(1)}, 'file')

"""Programs of PyTorch answer as graphs do, and are opened for those alone who trust their author."""

from __future__ import annotations

import sys
import zipfile

import numpy as np
import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from denseclip.apis.errors import UserError
from denseclip.export import ExportError
from denseclip.export.checks import check_image_graph, check_text_graph
from denseclip.export.graphs import write_image_graph, write_text_graph
from denseclip.export.image_graphs import ImageGraph
from denseclip.export.substitutes import ready_for_export
from denseclip.runtime.graphs import session
from denseclip.runtime.torch_program import NAMES


class Compared(ImageGraph):
    """A padded convolution whose pixels are compared with words."""

    outputs = ('scores', 'pixels')

    def __init__(self, kernel: int = 3) -> None:
        super().__init__(None)
        self.body = nn.Sequential(Conv2dSame(3, 4, kernel, 2, bias=True), nn.ReLU(inplace=True))

    def forward(self, images: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pixels = self.body(images)
        return torch.einsum('nchw,kc->nkhw', pixels, text), pixels


@pytest.fixture(scope='module')
def model():
    return Compared().eval()


@pytest.fixture(scope='module')
def program(model, tmp_path_factory):
    path = tmp_path_factory.mktemp('program') / 'image.pt2'
    write_image_graph(ready_for_export(model), path, 4, None)
    return path


def test_it_is_the_model_at_every_size(model, program):
    assert check_image_graph(program, model, 4, None) < 1e-5


@pytest.mark.parametrize('kernel', [1, 2])
def test_kernels_that_reach_no_further_than_a_step(kernel):
    model = Compared(kernel).eval()
    ready = ready_for_export(model)
    for side in range(1, 7):
        images, text = torch.randn(1, 3, side, 7), torch.randn(2, 4)
        for found, wanted in zip(ready(images, text), model(images, text), strict=True):
            torch.testing.assert_close(found, wanted)


def test_outputs_are_asked_for_by_name(program):
    images = np.random.default_rng(0).standard_normal((1, 3, 9, 8)).astype(np.float32)
    feeds = {'text': np.ones((2, 4), np.float32), 'images': images}
    opened = session(program, trust=True)
    scores, pixels = opened.run(None, feeds)
    np.testing.assert_array_equal(opened.run(['pixels'], feeds)[0], pixels)
    np.testing.assert_allclose(scores[:, 0], pixels.sum(axis=1), rtol=1e-5)


def test_a_module_of_one_output_may_give_it_by_itself(tmp_path):
    class Names(nn.Module):
        """Tokens to embeddings."""

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return tokens.float()[..., None].expand(-1, -1, 4).mean(1)

    write_text_graph(Names(), tmp_path / 'text.pt2', torch.ones(2, 5, dtype=torch.int64))
    prompts = [torch.full((1, 3), 7), torch.arange(12).reshape(3, 4)]
    assert check_text_graph(tmp_path / 'text.pt2', Names(), prompts) == 0


def test_nothing_in_it_is_pickled(program):
    """What PyTorch would unpickle: examples of inputs, and tensors of other types than its own."""
    with zipfile.ZipFile(program) as archive:
        pickles = [name for name in archive.namelist() if archive.read(name)[:1] == b'\x80']
        assert not [name for name in pickles if 'sample_inputs' not in name]
        assert not any(b'"use_pickle": true' in archive.read(name) for name in archive.namelist())


def test_weights_that_nothing_uses_are_left_out(model, program, tmp_path):
    class Beside(Compared):
        """With what it never runs, as a model has that finds its words in a text tower, and a table that is shared."""

        def __init__(self) -> None:
            super().__init__()
            self.text = nn.Linear(512, 512)
            self.register_buffer('table', torch.ones(128, 128))
            self.register_buffer('counts', torch.ones(128, 128), persistent=False)
            self.register_buffer('ones', torch.ones(4), persistent=False)
            self.other = self.body[0]

        def forward(self, images: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return super().forward(images, text * self.ones)

    beside, path = Beside().eval(), tmp_path / 'image.pt2'
    beside.body.load_state_dict(model.body.state_dict())
    write_image_graph(ready_for_export(beside), path, 4, None)
    found = torch.export.load(path)
    kept = [*found.state_dict.values(), *found.constants.values()]
    assert sorted(tuple(value.shape) for value in kept) == [(4,), (4,), (4, 3, 3, 3)]
    assert path.stat().st_size < program.stat().st_size + 2**16
    feeds = {'images': np.ones((2, 3, 17, 9), np.float32), 'text': np.ones((5, 4), np.float32)}
    for one, other in zip(*(session(p, trust=True).run(None, feeds) for p in (path, program)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert check_image_graph(path, beside, 4, None) < 1e-5


def test_nothing_is_read_without_trust(program, monkeypatch):
    monkeypatch.setattr(torch.export, 'load', lambda *_, **__: pytest.fail('it was opened'))
    with pytest.raises(UserError, match=r'may run any code .* say so with --trust \(trust=True in Python\)'):
        session(program)


def test_what_cannot_be_run_is_said(program, tmp_path, monkeypatch):
    (tmp_path / 'text.pt2').write_text('no program')
    with pytest.raises(UserError, match='is no program that the suite wrote'):
        session(tmp_path / 'text.pt2', trust=True)
    with zipfile.ZipFile(tmp_path / 'empty.pt2', 'w') as archive:
        archive.writestr(f'empty/extra/{NAMES}', '{"inputs": ["images"], "outputs": ["scores"], "torchvision": false}')
    with pytest.raises(UserError, match="PyTorch cannot read '.*empty.pt2'"):
        session(tmp_path / 'empty.pt2', trust=True)
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(ImportError, match='pip install torch'):
        session(program, trust=True)


def test_models_without_a_program_say_so(tmp_path):
    class Counting(ImageGraph):
        """How often it goes round depends on numbers."""

        def __init__(self) -> None:
            super().__init__(None)

        def forward(self, images: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, ...]:
            while images.sum() > text.sum():
                images = images - 1
            return (images,)

    with pytest.raises(ExportError, match=r'torch.export cannot make a program of this model: '):
        write_image_graph(Counting(), tmp_path / 'image.pt2', 4, None)

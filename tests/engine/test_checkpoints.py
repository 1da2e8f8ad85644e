"""Reading checkpoints: strictly, whatever wrote them, and without running what they contain."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from denseclip.engine.checkpoints import last_checkpoint, load_weights, not_saved_prefixes, read_training_file
from denseclip.engine.launch import TrainOptions, train
from denseclip.weights import UntrustedWeightsError, WeightMismatchError, write_safetensors


class Frozen(nn.Module):
    """A part that is loaded from its own source and not stored."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Linear(2, 2)
        self.learned = nn.Linear(2, 2)
        self.not_saved_prefixes = ('tower.',)


def network() -> nn.Module:
    return nn.ModuleDict({'text': Frozen(), 'head': nn.Linear(2, 3)})


class RunsCode:
    """A pickle that leaves a mark when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_every_format_of_ours_is_read(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save({'state_dict': state, 'meta': {'iter': 3}, 'optimizer': {'x': 1}}, tmp_path / 'a.pth')
    torch.save(state, tmp_path / 'b.pth')
    write_safetensors(state, tmp_path / 'c.safetensors')
    for name in ('a.pth', 'b.pth', 'c.safetensors'):
        content = read_training_file(str(tmp_path / name))
        assert all(torch.equal(content['state_dict'][key], value) for key, value in state.items())
    assert read_training_file(str(tmp_path / 'a.pth'))['optimizer'] == {'x': 1}


def test_names_and_palette_in_safetensors_are_data_again(tmp_path: Path) -> None:
    meta = {'classes': ['a', 'b'], 'palette': [[0, 0, 0], [1, 2, 3]]}
    cases: list[tuple[Any, Any]] = [(meta, meta), ('no JSON', {}), ([1], {})]
    for palette in ([[0, 0]], [[0, 0, 256]], [[0, 0, -1]], ['abc'], [[0, 0, 'x']], [[0, 0, 0.5]], [0, 1], 'x', 3):
        cases.append(({'classes': ['a'], 'palette': palette}, {'classes': ['a']}))
    cases += [({'classes': names, 'kept': 1}, {'kept': 1}) for names in ([1], 'ab', {'a': 1}, [['a']], None)]
    for said, wanted in cases:
        file = write_safetensors({'x': torch.zeros(1)}, tmp_path / 'x.safetensors', {'dataset_meta': said})
        assert read_training_file(str(file))['meta']['dataset_meta'] == wanted


def test_the_authors_names_become_ours(tmp_path: Path) -> None:
    state = {
        'backbone.conv3.weight': torch.ones(1),
        'text_encoder.text_projection': torch.ones(1),
        'contexts': torch.ones(1),
    }
    torch.save({'state_dict': state, 'meta': {'mmcv_version': '1.3'}}, tmp_path / 'official.pth')
    content = read_training_file(str(tmp_path / 'official.pth'))
    assert sorted(content['state_dict']) == [
        'backbone.tower.visual.conv3.weight',
        'contexts',
        'text_encoder.tower.text_projection',
    ]


def test_a_pickle_that_would_run_code_does_not_run(tmp_path: Path) -> None:
    torch.save({'state_dict': {'w': torch.ones(1)}, 'extra': RunsCode(tmp_path / 'mark')}, tmp_path / 'evil.pth')
    with pytest.raises(UntrustedWeightsError, match='refused'):
        read_training_file(str(tmp_path / 'evil.pth'))
    assert not (tmp_path / 'mark').exists()


def test_resume_never_executes_a_config_from_inside_a_checkpoint(train_toy, tmp_path: Path) -> None:
    """MMEngine's ``Runner.resume`` passes ``meta['config']`` to exec; a shared checkpoint could bring anything."""
    train_toy(tmp_path / 'a', **{'train_cfg.max_iters': 5})
    path = tmp_path / 'a/iter_5.pth'
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['meta']['config'] = f'import os\nos.mkdir({str(tmp_path / "mark")!r})\ngpu_ids = [0, 1]\n'
    torch.save(checkpoint, path)
    runner = train_toy(tmp_path / 'b', resume=str(path))
    assert runner.iter == 10 and not (tmp_path / 'mark').exists()


def test_the_hook_protects_a_plain_runner(tmp_path: Path) -> None:
    """Who uses MMEngine's own Runner with our hook is protected as well."""
    import logging
    from types import SimpleNamespace

    from denseclip.engine.hooks import TrainingStateHook

    checkpoint = {'meta': {'config': 'raise SystemExit', 'iter': 1}}
    TrainingStateHook().after_load_checkpoint(SimpleNamespace(logger=logging.getLogger('x')), checkpoint)  # type: ignore[arg-type]
    assert checkpoint['meta'] == {'iter': 1}


def test_strict_loading_names_what_is_wrong() -> None:
    state = network().state_dict()
    state['head.scale'] = state.pop('head.weight')
    with pytest.raises(WeightMismatchError) as caught:
        load_weights(network(), state, source='model.pth', strict=True)
    assert "'model.pth'" in str(caught.value)
    assert 'head.weight' in str(caught.value) and 'head.scale' in str(caught.value)


def test_only_declared_weights_may_be_missing() -> None:
    model = network()
    assert not_saved_prefixes(model) == ('text.tower.',)
    state = {key: value for key, value in model.state_dict().items() if not key.startswith('text.tower.')}
    assert load_weights(model, state, source='x', strict=True) == []
    del state['text.learned.bias']
    with pytest.raises(WeightMismatchError, match=r'text\.learned\.bias'):
        load_weights(model, state, source='x', strict=True)


def test_a_start_for_fine_tuning_is_lenient_and_says_so() -> None:
    model, other = network(), network().state_dict()
    other['head.weight'], other['old.weight'] = torch.ones(5, 2), torch.ones(1)
    del other['text.learned.bias']
    before = model['head'].weight.clone()
    notes = load_weights(model, other, source='x', strict=False)
    assert torch.equal(model['head'].weight, before)
    assert ['head.weight' in notes[0], 'text.learned.bias' in notes[1], 'old.weight' in notes[2]] == [True] * 3


def test_the_prefix_of_a_wrapper_is_dropped() -> None:
    model, source = network(), network()
    state = {f'module.{key}': value for key, value in source.state_dict().items()}
    load_weights(model, state, source='x', strict=True)
    assert torch.equal(model['head'].weight, source['head'].weight)


def test_resume_from_weights_only_says_what_to_do(train_toy, tmp_path: Path) -> None:
    train_toy(tmp_path / 'a', **{'train_cfg.max_iters': 1})
    state = torch.load(tmp_path / 'a/iter_1.pth', weights_only=True)['state_dict']
    write_safetensors(state, tmp_path / 'weights.safetensors')
    with pytest.raises(ValueError, match=r'holds weights only.*load_from='):
        train_toy(tmp_path / 'b', resume=str(tmp_path / 'weights.safetensors'))


def test_a_moved_work_directory_still_finds_its_checkpoint(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/run/iter_5.pth')
    with pytest.raises(FileNotFoundError, match=r'iter_5\.pth.*--resume PATH'):
        last_checkpoint(tmp_path)
    (tmp_path / 'iter_5.pth').touch()
    assert last_checkpoint(tmp_path) == tmp_path / 'iter_5.pth'


def test_a_start_from_nothing_is_refused() -> None:
    with pytest.raises(WeightMismatchError, match="'x' holds no tensor"):
        load_weights(network(), {}, source='x', strict=False)


class Note:
    """Foreign to every allow-list, and harmless."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_a_start_from_a_file_that_runs_code_needs_trust(toy_config: Path, tmp_path: Path) -> None:
    marker, path = tmp_path / 'ran', tmp_path / 'theirs.pth'
    torch.save({'state_dict': {'x': torch.zeros(1)}, 'run': Note(marker)}, path)
    overrides = {'train_cfg.max_iters': 1, 'load_from': str(path)}
    with pytest.raises(UntrustedWeightsError, match='--trust'):
        train(toy_config, TrainOptions(work_dir=str(tmp_path / 'a'), overrides=overrides))
    assert not marker.exists()
    with pytest.raises(WeightMismatchError):  # read, and of another model
        train(toy_config, TrainOptions(work_dir=str(tmp_path / 'b'), overrides=overrides, trust=True))
    assert marker.exists()


def test_a_trusted_checkpoint_is_resumed_whole(tmp_path: Path) -> None:
    """What makes a file a matter of trust does not cost the optimizer beside it."""
    path = tmp_path / 'iter_5.pth'
    content = {
        'state_dict': {'w': torch.zeros(1)},
        'meta': {'iter': 5, 'extra': Fraction(1, 3)},
        'optimizer': {'state': {}, 'param_groups': [{'lr': 0.5}]},
        'message_hub': {'log_scalars': {}},
    }
    torch.save(content, path)
    with pytest.raises(UntrustedWeightsError):
        read_training_file(str(path))
    read = read_training_file(str(path), trust=True)
    assert read['optimizer'] == content['optimizer'] and read['message_hub'] == content['message_hub']
    assert read['meta']['iter'] == 5

"""The cells of a grid and the config that each of them means."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS
from mmseg.registry import DATASETS

from denseclip.clip.presets import PRESETS, preset
from denseclip.datasets.open_vocab import EvaluationProtocol, EvaluationSet, default_protocol, evaluation_set, protocol
from denseclip.engine.config import OptionError, load_config
from denseclip.models.segmentors.correlation_pooling import CorrelationPoolingSegmentor
from denseclip.models.segmentors.dinoiser import CLIPDINOiser

OWN = 'own'
"""As a protocol: the one that the preset's paper used."""
CONFIG = 'config'
"""The protocol of sets that a config file describes."""
RANDOM = 'random'
"""As weights: none, numbers drawn by a fixed seed."""
ORACLES = ('classes', 'masks')
"""``'classes'``: only the classes in the picture's labels may be answered. ``'masks'``: the region of each label takes
the class that most of its pixels were given."""
_FOLDER_MODELS = ('hf-hub:', 'local-dir:')  # these bring their weights
_FROM_SET = ('vocabulary', 'test_cfg', 'post', 'scale')


@dataclass(frozen=True)
class CellOptions:
    """What all cells of a grid share.

    Attributes:
        model: open_clip architecture; None is the protocol's.
        pretrained: Its tag or a file, or :data:`RANDOM`; None is the protocol's.
        configs: Config file by preset, for methods that are models of their own (``dinoiser``).
        checkpoints: Checkpoint by preset.
        data_roots: Folder by set, where it is not the usual one.
        set_configs: Config file by set, for sets of one's own: its ``test_dataloader`` says what is scored, and its
            ``model``, as far as there is one, may name ``vocabulary``, ``test_cfg``, ``post`` and ``scale``.
        limit: Only the first so many pictures of each set; such numbers can be compared with nothing.
        window_batch: Windows that are run at once.
        overrides: Dotted keys and values merged into each cell's config.
        oracle: What the labels give away, one of :data:`ORACLES`; None: nothing.
        active_vocabulary: What the classes of each picture are chosen by, one of
            ``denseclip.structures.active_vocabulary.SCORERS``; None: all classes are labelled.
    """

    model: str | None = None
    pretrained: str | None = None
    configs: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    data_roots: Mapping[str, str] = field(default_factory=dict)
    set_configs: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    window_batch: int = 8
    overrides: Mapping[str, Any] = field(default_factory=dict)
    oracle: str | None = None
    active_vocabulary: str | None = None


@dataclass(frozen=True)
class Cell:
    """One evaluation.

    Attributes:
        preset: Name of the method.
        set_name: Name of the evaluation set.
        protocol: Name of the protocol.
        weights: CLIP model and its weights, as one label.
        checkpoint: Further weights, or None.
        limit: Most pictures.
        config: Plain data: ``model``, ``test_dataloader`` and nothing else.
        oracle: What the labels give away, see :data:`ORACLES`; the protocol's name says so, too.
    """

    preset: str
    set_name: str
    protocol: str
    weights: str
    checkpoint: str | None
    limit: int | None
    config: Mapping[str, Any]
    oracle: str | None = None

    @property
    def identity(self) -> str:
        """Hash of all that decides the result: another one means that earlier results are not this cell's."""
        files = [self.checkpoint, *_paths(self.config['model']), *_places(self.config['test_dataloader']['dataset'])]
        content = [self.preset, self.protocol, self.limit, self.config, [_stamp(file) for file in files if file]]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def tower(self) -> str:
        """The CLIP, and further weights on it."""
        return self.weights + (f' + {Path(self.checkpoint).name}' if self.checkpoint else '')

    @property
    def file_name(self) -> str:
        """Name of the file of its results; weights and limit in it, so that grids can share a folder."""
        parts = [self.preset, self.set_name, self.protocol, self.weights, self.checkpoint or '', self.limit or '']
        readable = [re.sub(r'[^A-Za-z0-9.-]+', '-', str(part)) for part in parts[:3]]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]
        return '__'.join([*readable, digest]) + '.json'

    @property
    def title(self) -> str:
        """For messages."""
        return f'{self.preset} on {self.set_name} ({self.protocol}, {self.weights})'


def towers_of(specs: Iterable[str], options: CellOptions) -> list[CellOptions]:
    """Options of each tower of an axis: the same as if it had been named by ``model`` and ``pretrained`` alone.

    Args:
        specs: ``local-dir:FOLDER``, ``hf-hub:NAME``, ``ARCHITECTURE`` (with the protocol's weights), or
            ``ARCHITECTURE=WEIGHTS``: a tag of open_clip, a file, or :data:`RANDOM`.
        options: All the rest.

    Raises:
        OptionError: If a tower is named beside them, or twice.
    """
    found = list(specs)
    if options.model is not None or options.pretrained is not None:
        raise OptionError('--towers and --model or --pretrained name the CLIP twice: leave one of them out')
    twice = sorted({spec for spec in found if found.count(spec) > 1})
    if twice:
        raise OptionError(f'--towers: {", ".join(twice)} is named twice')
    made = []
    for spec in found:
        model, _, weights = (spec, '', '') if spec.startswith(_FOLDER_MODELS) else spec.partition('=')
        if not model or ('=' in spec and not spec.startswith(_FOLDER_MODELS) and not weights):
            raise OptionError(f"--towers: '{spec}' must be ARCHITECTURE, ARCHITECTURE=WEIGHTS, local-dir: or hf-hub:")
        made.append(replace(options, model=model, pretrained=weights or None))
    return made


def make_cells(
    presets: Iterable[str], sets: Iterable[str], protocols: Iterable[str], options: CellOptions
) -> tuple[list[Cell], list[str]]:
    """All combinations that exist.

    Args:
        presets: Names of presets, or of entries of ``options.configs``.
        sets: Names of evaluation sets.
        protocols: Names of protocols, or ``'own'``.
        options: The rest.

    Returns:
        The cells, set by set within a preset, and a note for each combination that a protocol does not define.

    Raises:
        OptionError: If a name is unknown or a method lacks something that it needs.
    """
    cells, notes = [], []
    try:
        found_sets = [name if name in options.set_configs else evaluation_set(name).name for name in sets]
        for name in presets:
            for protocol_name in protocols:
                for set_name in found_sets:
                    own = protocol_name == OWN
                    chosen = default_protocol(name, set_name) if own else protocol(protocol_name)
                    if set_name in options.set_configs:
                        cells.append(_cell(name, set_name, CONFIG, options))
                    elif set_name in chosen.settings:
                        cells.append(_cell(name, set_name, chosen.name, options))
                    else:
                        notes.append(f"protocol '{chosen.name}' is not defined for {set_name}: {name} left out there")
    except (KeyError, ValueError) as error:
        raise OptionError(str(error.args[0])) from error
    return list({cell.file_name: cell for cell in cells}.values()), notes


def _cell(name: str, set_name: str, protocol_name: str, options: CellOptions) -> Cell:
    config = cell_config(name, set_name, protocol_name, options)
    clip = config['model']['clip']
    weights = str(clip['model'])
    if not weights.startswith(_FOLDER_MODELS):
        weights += f' {clip.get("pretrained") or "random"}'
    if options.oracle is not None:
        protocol_name += f', true {options.oracle}'
    if options.active_vocabulary is not None:
        protocol_name += f', classes by {options.active_vocabulary}'
    checkpoint = options.checkpoints.get(name)
    return Cell(name, set_name, protocol_name, weights, checkpoint, options.limit, config.to_dict(), options.oracle)


def cell_config(name: str, set_name: str, protocol_name: str, options: CellOptions) -> Config:
    """The model and the data of one cell.

    Args:
        name: A preset, or a key of ``options.configs``.
        set_name: The evaluation set, or a key of ``options.set_configs``.
        protocol_name: The protocol; a set of one's own has none.
        options: The rest.

    Returns:
        Config with ``model`` and ``test_dataloader``.

    Raises:
        KeyError: If the set or the protocol is unknown.
        ValueError: If the preset is unknown.
        OptionError: If the method's config is no open-vocabulary model.
    """
    model = _model(name, options)
    if set_name in options.set_configs:
        _use_weights(model, options, default_protocol(name).weights)
        dataset = _use_own_set(model, options.set_configs[set_name])
        if set_name in options.data_roots:
            dataset['data_root'] = options.data_roots[set_name]
    else:
        dataset = _use_protocol(model, name, evaluation_set(set_name), protocol(protocol_name), options)
    model['test_cfg']['window_batch'] = options.window_batch
    if options.active_vocabulary is not None:
        model['test_cfg']['active_vocabulary'] = options.active_vocabulary
    kind = MODELS.get(model['type'])
    if kind is not None and issubclass(kind, CLIPDINOiser):  # teachers are for its training
        model.update(correlation_teacher=None, foreground_teacher=None)
    config = Config(dict(model=model, test_dataloader=dict(dataset={**dataset, 'test_mode': True})))
    config.merge_from_dict(dict(options.overrides))
    return config


def _use_protocol(
    model: dict[str, Any], name: str, entry: EvaluationSet, rules: EvaluationProtocol, options: CellOptions
) -> dict[str, Any]:
    """Change a model to what a protocol does with a set; the config of the data set."""
    setting = rules.setting(entry.name)
    _use_weights(model, options, rules.weights)
    tuned = setting.tuned if name == rules.name else {}
    parts = (model['clip'].get('read_out') or {}, rules.clip.get('read_out', {}), tuned.get('read_out', {}))
    read_out = {key: value for part in parts for key, value in part.items()}
    model['clip'].update(rules.clip, **({'read_out': read_out} if read_out else {}))
    if rules.normalisation is not None:
        mean, std = rules.normalisation
        model['data_preprocessor'] = dict(
            type='SegDataPreProcessor', bgr_to_rgb=True, pad_val=0, mean=list(mean), std=list(std)
        )
    own = preset(name).model.get('templates') if name in PRESETS else None
    if rules.templates != (model.get('templates') or own or 'openai_imagenet'):
        model['templates'] = rules.templates
    for part in {'affinity', 'sam'} & set(tuned):
        model[part] = _filled(model.get(part) or {}, tuned[part])
    model.update({key: value for key, value in tuned.get('model', {}).items() if key not in model})
    pamr = {'pamr': dict(rules.pamr)} if rules.pamr else {}
    post = {**(model.get('post') or {}), **setting.post(), **tuned.get('post', {}), **pamr}
    model.update(
        vocabulary=setting.vocabulary,
        test_cfg=setting.test_cfg(),
        **({'post': post} if post else {}),
        **({'scale': setting.logit_scale} if setting.logit_scale is not None else {}),
    )
    kind = MODELS.get(model['type'])
    if kind is not None and issubclass(kind, CorrelationPoolingSegmentor):
        model['background_rule'] = setting.background == 'learned'
    pipeline = setting.pipeline(entry.num_classes, wide=entry.ignore_index != 255)
    return {**entry.dataset(options.data_roots.get(entry.name)), 'pipeline': pipeline}


def _filled(given: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Given settings and, where they say nothing, the usual ones, also of the settings inside."""
    inside = {
        key: _filled(value, usual[key])
        for key, value in given.items()
        if isinstance(value, Mapping) and isinstance(usual.get(key), Mapping)
    }
    return {**copy.deepcopy(dict(usual)), **given, **inside}


def _use_own_set(model: dict[str, Any], path: str) -> dict[str, Any]:
    """Change a model to what the config of a set says; the config of the data set."""
    config = load_config(path, whole=False).to_dict()
    dataset = (config.get('test_dataloader') or {}).get('dataset')
    if dataset is None:
        raise OptionError(f"config '{path}' describes no set: it has no test_dataloader")
    given = config.get('model') or {}
    model.update({key: given[key] for key in _FROM_SET if given.get(key) is not None})
    model.setdefault('test_cfg', dict(mode='whole'))
    if 'vocabulary' not in given:
        kind = DATASETS.get(dataset['type'])
        if kind is None or not getattr(kind, 'METAINFO', {}).get('classes'):
            raise OptionError(f"config '{path}' names no classes: set model.vocabulary in it")
        model['vocabulary'] = list(kind.METAINFO['classes'])
    return dataset


def _use_weights(model: dict[str, Any], options: CellOptions, fallback: tuple[str, str | None]) -> None:
    """Fill in the CLIP model and its weights."""
    clip = model['clip'] = dict(model['clip'])
    clip['model'] = options.model or clip.get('model') or fallback[0]
    clip['pretrained'] = options.pretrained or clip.get('pretrained') or fallback[1]
    if str(clip['model']).startswith(_FOLDER_MODELS):
        del clip['pretrained']
    elif clip['pretrained'] == RANDOM:
        clip['pretrained'] = None


def _model(name: str, options: CellOptions) -> dict[str, Any]:
    """Model config of a method, its ``clip`` a dict."""
    if name not in options.configs:
        chosen = preset(name)
        dotted = [f'model.{part}' for part in chosen.plug_ins]
        given = bool(dotted) and all(any(key.startswith(part) for key in options.overrides) for part in dotted)
        if chosen.needs and not given and name not in options.checkpoints:
            where = ' and '.join(f'{part}...' for part in dotted or ['model.affinity'])
            raise OptionError(
                f"preset '{name}' needs {chosen.needs}: give it by --weights {name}=FILE, or by --cfg-options "
                f'{where} where it is an affinity, regions or Segment Anything'
            )
        # Parts of the config, so that overrides can change parts of them.
        parts = {part: copy.deepcopy(chosen.model[part]) for part in ('affinity', 'sam') if part in chosen.model}
        return dict(type=chosen.type, clip=dict(preset=name), **parts)
    path = options.configs[name]
    model = load_config(path).get('model')
    if not model or not isinstance(model.get('clip'), Mapping):
        raise OptionError(f"config '{path}' of '{name}' has no open-vocabulary model: model.clip is missing")
    return Config(dict(model=model)).to_dict()['model']


def known_presets(configs: Mapping[str, str]) -> list[str]:
    """Names that can be asked for."""
    return [*PRESETS, *(name for name in configs if name not in PRESETS)]


def _paths(node: Any) -> list[str]:
    """Strings in a config that name existing files, and the files of a folder named by ``local-dir:``."""
    if isinstance(node, Mapping):
        return [path for value in node.values() for path in _paths(value)]
    if isinstance(node, list | tuple):
        return [path for value in node for path in _paths(value)]
    if not isinstance(node, str) or len(node) > 1024:
        return []
    if node.startswith('local-dir:'):
        return sorted(str(path) for path in Path(node.removeprefix('local-dir:')).glob('*'))
    return [node] if Path(node).is_file() else []


def _places(dataset: Mapping[str, Any]) -> list[str]:
    """The list file and the folders of a data set; their times change when pictures are added."""
    root, prefix = Path(dataset.get('data_root') or '.'), dataset.get('data_prefix') or {}
    return [str(root / part) for part in (dataset.get('ann_file'), *prefix.values()) if part]


def _stamp(path: str) -> tuple[str, int, int]:
    """Name, size and time of a file or folder; a name that is neither stands for itself."""
    try:
        state = Path(path).stat()
    except OSError:
        return path, 0, 0
    return path, state.st_size, state.st_mtime_ns

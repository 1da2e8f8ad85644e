"""Does the model speak of the same classes as the data set?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from denseclip.core.words import letters_of, shuffled
from denseclip.datasets.named_coco import shifted_label
from denseclip.recipes import ignored_label


class VocabularyMismatchError(ValueError):
    """Model and data set have different numbers of classes."""


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside distributed and test-time-augmentation wrappers."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = cast(nn.Module, model.module)
    return model


@HOOKS.register_module()
class VocabularyCheckHook(Hook):
    """Compare the model's vocabulary with the data set's classes before the first batch.

    Another number of classes, or other classes in a part of a concatenated data set, stops the run. Other names, or the
    same names in another order, are a warning: synonyms are legitimate, a shuffled order hardly is. So is a class that
    the model counts as a thing and the data set as stuff, where panoptic or instance results are scored. A training
    whose padding has the label of a class stops.

    Models without a vocabulary and data sets without classes are left alone.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._checked: dict[str, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Check against the training set."""
        dataset = runner.train_dataloader.dataset
        self._check(runner, dataset, 'training')
        check_padding(getattr(unwrap_model(runner.model), 'data_preprocessor', None), len(_classes(dataset)[0]))

    def before_val(self, runner: Runner) -> None:
        """Check against the validation set."""
        self._check(runner, runner.val_dataloader.dataset, 'validation')

    def before_test(self, runner: Runner) -> None:
        """Check against the test set."""
        self._check(runner, runner.test_dataloader.dataset, 'test')

    def _check(self, runner: Runner, dataset: Any, role: str) -> None:
        model = unwrap_model(runner.model)
        vocabulary = getattr(model, 'vocabulary', None)
        if role == 'training':  # some models learn from other classes than they are tested on
            vocabulary = getattr(model, 'train_vocabulary', None) or vocabulary
        listed = _classes(dataset)
        if self._checked.get(role) is not dataset:  # validations come again and again, their files do not change
            for part in _parts(dataset):
                check_positions(part, role)
            check_parts(listed, role)
            self._checked[role] = dataset
        if vocabulary is None or not listed[0]:
            return
        warning = compare_vocabulary(list(vocabulary.names), list(listed[0]), role)
        if warning:
            runner.logger.warning(warning)
        differing = None if role == 'training' else compare_things(model, next(_parts(dataset)).metainfo)
        if differing:
            runner.logger.warning(differing)


def check_padding(preprocessor: Any, num_classes: int) -> None:
    """Stop before padding is learnt as a class.

    Args:
        preprocessor: Of the model; those that pad no labels are left alone.
        num_classes: Of the training set.

    Raises:
        VocabularyMismatchError: Its ``seg_pad_val`` is the label of a class.
    """
    value = getattr(preprocessor, 'seg_pad_val', None)
    pads = getattr(preprocessor, 'size', None) is not None or getattr(preprocessor, 'size_divisor', None) is not None
    if pads and isinstance(value, int) and 0 <= value < num_classes:
        raise VocabularyMismatchError(
            f'model.data_preprocessor.seg_pad_val={value} is the label of one of the {num_classes} classes of the '
            f'training set: padding would be learnt as that class. Set it to {ignored_label(num_classes)}.'
        )


def compare_things(model: Any, metainfo: Mapping[str, Any]) -> str | None:
    """Compare which classes are countable.

    Args:
        model: Says so in ``is_thing``, and by ``tasks`` whether it matters.
        metainfo: Of the data set; ``classes`` in the order of the labels, ``thing_classes`` those that are.

    Returns:
        A warning, or None.
    """
    tasks = set(getattr(getattr(model, 'tasks', None), 'tasks', ()))
    if 'thing_classes' not in metainfo or not tasks & {'panoptic', 'instance'}:
        return None
    things, classes = set(metainfo['thing_classes']), list(metainfo['classes'])
    ours = [bool(flag) for flag in model.is_thing][: len(classes)]
    pairs = [(name, name in things) for name in classes]
    differing = [
        f'"{name}" is {"a thing" if counted else "stuff"}'
        for (name, counted), mine in zip(pairs, ours, strict=True)
        if mine != counted
    ]
    if not differing:
        return None
    return (
        f'the model counts {sum(ours)} of {len(classes)} classes as things, the data set {len(things)}, and scores by '
        f'its own: give model.things the names of these. In the data set {_short(differing)}.'
    )


def check_parts(listed: Sequence[Sequence[str]], role: str) -> None:
    """Stop before one label means two classes.

    Args:
        listed: Classes of each part of a concatenated data set, in the order of its labels.
        role: Which data set, for the message.

    Raises:
        VocabularyMismatchError: They differ.
    """
    for number, classes in enumerate(listed[1:], start=2):
        if classes != listed[0]:
            raise VocabularyMismatchError(
                f'part 1 of the {role} set has the classes {_short(list(listed[0]))}, part {number} has '
                f'{_short(list(classes))}: one label would mean two classes. Give all parts the same metainfo.classes '
                '(a part may lack some of them in its files).'
            )


def _classes(dataset: Any) -> list[tuple[str, ...]]:
    """Classes of each part of a data set."""
    return [tuple(getattr(part, 'metainfo', {}).get('classes') or ()) for part in _parts(dataset)]


def _parts(dataset: Any) -> Iterator[Any]:
    """Data sets inside wrappers such as ``ConcatDataset``."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner[0] is None:
        yield dataset
        return
    for part in inner:
        yield from _parts(part)


def check_positions(dataset: Any, role: str) -> None:
    """Stop before boxes are trained or scored under wrong names.

    Args:
        dataset: A plain data set.
        role: Which one, for the message.

    Raises:
        VocabularyMismatchError: It gives labels by positions, and its file lists the categories in another order.
    """
    shifted = shifted_label(dataset)
    if shifted:
        raise VocabularyMismatchError(
            f'{dataset.ann_file} of the {role} set lists its categories in another order than metainfo.classes, and '
            f'{type(dataset).__name__} goes by the order: "{shifted[0]}" would be taken for "{shifted[1]}". Use '
            "type='NamedCocoDataset' and type='NamedCocoMetric', which go by the names."
        )


def compare_vocabulary(names: list[str], classes: list[str], role: str) -> str | None:
    """Compare class names.

    Args:
        names: The model's class names, in the order of its outputs.
        classes: The data set's class names, in the order of its labels.
        role: Which data set, for the message.

    Returns:
        A warning, or ``None`` if all names agree (case, blanks and punctuation aside).

    Raises:
        VocabularyMismatchError: The numbers differ.
    """
    if len(names) != len(classes):
        raise VocabularyMismatchError(
            f'the model has {len(names)} classes ({_short(names)}), '
            f'the {role} set has {len(classes)} ({_short(classes)}). '
            'Set model.vocabulary to the classes of this data set (or pass --vocabulary FILE), or choose the data set '
            'that belongs to the model.'
        )
    if shuffled(names, classes):
        return (
            f'the classes of the model and of the {role} set are the same, but in another order: label 0 is '
            f'"{classes[0]}" in the data and "{names[0]}" in the model. Scores will be wrong unless this is intended: '
            'order model.vocabulary as the data set does.'
        )
    differing = [
        f'{label} "{theirs}" is called "{ours}"'
        for label, (ours, theirs) in enumerate(zip(names, classes, strict=True))
        if letters_of(ours) != letters_of(theirs)
    ]
    if not differing:
        return None
    return (
        f'{len(differing)} of {len(classes)} classes of the {role} set have another name in the model: '
        f'{_short(differing)}. Fine for synonyms; otherwise check the order of model.vocabulary.'
    )


def _short(items: list[str], most: int = 6) -> str:
    return ', '.join(items[:most]) + (f', ... {len(items)} in all' if len(items) > most else '')

"""What ``denseclip anomaly`` looks with: the method, its model, what it compares with, and who names areas."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.cli.options import model_arguments
from denseclip.cli.runtime_option import load_anomaly_runtime


def good_pictures(args: argparse.Namespace, items: Any) -> list[Path]:
    """Pictures named as good, else those that lie in a folder called normal; of very many, some.

    Raises:
        UserError: If there is none where they are said to be.
    """
    from denseclip.apis.inputs import expand_inputs

    return expand_inputs(args.normal) if args.normal else [item.path for item in items if item.label is False]


def chosen_method(args: argparse.Namespace, good: int, pictures: int) -> Any:
    """The method that the options name, or that suits the pictures.

    Raises:
        UserError: If options contradict one another, or a method lacks what it needs.
    """
    from denseclip.apis.anomaly_methods import Choice, choose_method

    named = args.runtime or args.model or args.config
    if named and args.method != 'auto':
        raise UserError(f'--method {args.method} and --model, --config or --runtime name two models: leave one out.')
    if named:
        choice = Choice(named, 'as named')
    elif args.method == 'auto' and (args.weights is not None or args.checkpoint is not None):
        choice = Choice('anovl', 'weights of a model with words are given')
    elif args.method == 'auto' and args.prompts is not None:
        choice = Choice('anovl', 'prompts are given')
    else:
        choice = choose_method(args.method, good, pictures, args.object is not None)
    if not choice.compares and args.object is None:
        raise UserError(
            f'{choice.method} goes by words: say what the pictures show with --object "metal nut", or compare pictures '
            'with --method references or batch.'
        )
    if not choice.compares and (args.trunk or args.image_size or args.turns):
        raise UserError('--trunk, --image-size and --turns go with --method references or batch: leave them out.')
    if choice.compares:
        _check_comparing(args, choice.method)
    return choice


def _check_comparing(args: argparse.Namespace, method: str) -> None:
    """Refuse options that nothing would use where pictures are compared.

    Raises:
        UserError: If there are some.
    """
    if args.weights is not None or args.checkpoint is not None:
        raise UserError(
            f'--method {method} compares pictures and takes no --weights, which are of a model with words: leave one '
            'out (--pretrained are the weights of a trunk).'
        )
    if args.prompts is not None:
        raise UserError(f'--method {method} compares pictures and has no use for --prompts: leave one out.')
    if args.domain is not None:
        raise UserError(
            f'--method {method} compares pictures and has no use for --domain, which words need: leave one out.'
        )
    if args.turns and method != 'references':
        raise UserError(
            f'--turns turns good pictures, and --method {method} has none: leave it out, or name some with --normal.'
        )
    trunk, names = args.trunk or ('clip' if args.clip else ''), args.defects is not None
    if args.clip is not None and trunk != 'clip' and not names:
        raise UserError(f'nothing would use --clip with --trunk {trunk}: leave it out, or name areas with --defects.')
    if args.pretrained is not None and not (trunk == 'clip' or trunk.startswith('timm:') or names):
        raise UserError(
            'nothing would use --pretrained: it is for --trunk timm:NAME, for --clip, or for the CLIP that names areas '
            'by --defects.'
        )


def load_anomaly_model(args: argparse.Namespace, choice: Any) -> Any:
    """The model of a method, told what pictures show.

    Raises:
        UserError: If the model cannot be used, or is none for anomalies.
    """
    if args.runtime is not None:
        if args.prompts is not None:
            raise UserError('--prompts goes with a model, not with --runtime, which brings its own: leave one out.')
        return load_anomaly_runtime(args)
    from denseclip.apis.anomaly import AnomalyInferencer, renamed_weights
    from denseclip.apis.anomaly_methods import comparing_config, trunk_config
    from denseclip.apis.loading import load_model

    options = model_arguments(args)
    if choice.compares:
        if args.image_size is not None and not 32 <= args.image_size <= 4096:
            raise UserError(f'--image-size {args.image_size} must lie between 32 and 4096.')
        trunk = trunk_config(args.trunk, args.clip, args.pretrained)
        settings = {'turns': args.turns or None} if choice.method == 'references' else {}
        config = comparing_config(choice.method, trunk, image_size=args.image_size, **settings)
        model: Any = load_model(**{**options, 'config': config, 'clip': None, 'pretrained': None})
        if args.object is not None:
            model.set_object(args.object)
        return model
    named = args.model or args.config
    asked = named or (None if choice.method == 'anovl' else choice.method)  # AnoVL's weights were CLIP's once
    weights, pretrained = renamed_weights(asked, args.weights, args.pretrained, args.checkpoint)
    options = {**options, 'weights': weights, 'pretrained': pretrained}
    name = args.model if named else choice.method
    model = load_model(name, **options)
    if not isinstance(model, AnomalyInferencer):
        raise UserError(f'{type(model.model).__name__} is no anomaly model; use a config of configs/anovl/.')
    if args.prompts is not None:
        _choose_prompts(model.model, args.prompts)
        if getattr(model.model, 'pair', None) is not None:
            if args.domain is not None:
                raise UserError('--domain goes with written prompts, not with a learnt pair: leave it out.')
            if args.defects is not None and not hasattr(model.model, 'pass_size'):  # AnoVL names areas by them
                raise UserError('--defects are looked for by written prompts, not by a learnt pair: leave them out.')
    model.set_object(args.object, args.domain, args.defects)
    return model


def _choose_prompts(model: Any, prompts: str) -> None:
    """Let a model go by other prompts.

    Raises:
        UserError: If it takes none, or they cannot be used.
    """
    if not hasattr(model, 'set_prompts'):
        raise UserError(f'--prompts goes with methods with words, and {type(model).__name__} has none: leave it out.')
    from denseclip.weights import WeightFileError, WeightMismatchError

    try:
        model.set_prompts(prompts)
    except (FileNotFoundError, ValueError, WeightFileError, WeightMismatchError) as error:
        raise UserError(f'--prompts: {error}') from error


def load_namer(args: argparse.Namespace, inferencer: Any) -> Any:
    """What finds words for areas where ``--defects`` gives some; None where it does not, or the model cannot.

    Raises:
        UserError: If its CLIP cannot be had.
    """
    if args.defects is None or args.runtime is not None:
        return None
    from denseclip.apis.anomaly_names import RegionNamer
    from denseclip.apis.loading import load_model
    from denseclip.models.anomaly.clip_parts import is_fresh

    if not hasattr(inferencer.model, 'even') or inferencer.model.even is not None:  # a model with words
        return RegionNamer(inferencer, args.object, args.defects) if hasattr(inferencer.model, 'pass_size') else None
    pretrained = None if (args.trunk or '').startswith('timm:') else args.pretrained  # else the trunk's
    if args.clip is not None and is_fresh({'model': args.clip, 'pretrained': pretrained}):
        raise UserError(
            f"areas are named by a CLIP, and '{args.clip}' would have random weights: name them with --pretrained, or, "
            "where those are the trunk's, a CLIP that brings its own, such as --clip local-dir:FOLDER."
        )
    try:
        words: Any = load_model('anovl', clip=args.clip, pretrained=pretrained, device=args.device, trust=args.trust)
    except FileNotFoundError as error:
        raise UserError(f'areas are named by a CLIP, which is not at hand: {error} Or leave --defects out.') from error
    return RegionNamer(words, args.object or 'object', args.defects)


def give_references(inferencer: Any, choice: Any, good: list[Path], items: Any) -> tuple[Any, list[Path]]:
    """Give the model what it compares with.

    Returns:
        The pictures to look at, and good ones that can tell what is usual. A reference that is compared with no other,
        or of which the model keeps an extract only, is no judge of itself: it is in neither.
    """
    from denseclip.apis.anomaly_methods import split_good

    if choice.method == 'batch':
        inferencer.set_references(readable_pictures([item.path for item in items]))
        return items, good
    if not good or not hasattr(inferencer.model, 'set_references'):
        return items, good
    looked_at = {item.path.resolve() for item in items}
    if looked_at.issuperset(path.resolve() for path in good):  # then those that cannot be read are reported there
        good = readable_pictures(good)
    references, judges = split_good(good)
    inferencer.set_references(references)
    few = len(references) == len(good)
    if few and inferencer.references > 1 and not getattr(inferencer.model, 'leaves_out', True):  # an extract is kept
        references, judges = split_good(good, few=1)
        inferencer.set_references(references)
    if len(references) == len(good) and inferencer.references > 1:
        return items, judges
    taken = {path.resolve() for path in references}
    judges = [path for path in judges if path.resolve() not in taken]
    return [item for item in items if item.path.resolve() not in taken] or items, judges


def readable_pictures(paths: list[Path]) -> list[Path]:
    """Those that can be read; the others are reported when they are looked at.

    Raises:
        UnreadableImageError: If none can.
    """
    from denseclip.apis.images import UnreadableImageError, read_image

    found, errors = [], []
    for path in paths:
        try:
            read_image(path, 'rgb')
            found.append(path)
        except UnreadableImageError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found

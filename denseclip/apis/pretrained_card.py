"""Cards of shared models: the zoo's own where the weights are the zoo's, else what is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from denseclip.apis.zoo import find_model, ours, read_zoo
from denseclip.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

    from denseclip.apis.predictor import Predictor

_TAGS = {'instance': 'object-detection', 'anomaly': 'image-segmentation'}
_FUNCTIONS = {'anomaly': "model(picture, 'metal nut')", 'instance': 'model(picture)'}
_MOST_NAMES = 40


def card_of(predictor: Predictor) -> ModelCard:
    """The card of a model.

    Args:
        predictor: The model.
    """
    from huggingface_hub import ModelCard, ModelCardData

    entry = _entry(predictor)
    data = ModelCardData(
        library_name='denseclip',
        pipeline_tag=_TAGS.get(predictor.task, 'image-segmentation'),
        tags=['clip', 'open-vocabulary', 'model_hub_mixin', type(predictor.model).__name__.lower()],
        license=_licence(entry),
        datasets=[entry['dataset']] if entry.get('dataset') else None,
    )
    text = _text_of_zoo(entry) or _text(predictor)
    return ModelCard(f'---\n{data.to_yaml()}\n---\n\n{text}\n\n{_usage(predictor)}')


def _entry(predictor: Predictor) -> dict[str, Any]:
    """The zoo's entry for the weights of a model, if they are the zoo's."""
    origin = predictor.origin
    weights = Path(origin.weights).resolve() if origin is not None and origin.weights else None
    for entry in read_zoo()['models']:
        if entry.get('file') and weights == ours(find_model(entry['name']).file or '').resolve():
            return entry
    return {}


def _licence(entry: dict[str, Any]) -> str | None:
    """A licence in the hub's words; its full text is in the card."""
    said = str(entry.get('licence') or '').lower()
    return next((name for name in ('apache-2.0', 'mit') if said.startswith(name)), None)


def _text_of_zoo(entry: dict[str, Any]) -> str:
    """The zoo's card without links to files that are not in a repository of the hub."""
    card = entry.get('card')
    if not card:
        return ''
    import re

    text = ours(card).read_text(encoding='utf-8').strip()
    return re.sub(r'\[([^\]]+)\]\((?!https?://)[^)]+\)', r'\1', text)


def _text(predictor: Any) -> str:
    """What is known of a model without a card."""
    kind = type(predictor.model).__name__
    lines = [f'# {kind}', '', f'A {kind} of DenseCLIP Suite {__version__}; it gives {predictor.task} results.']
    vocabulary = getattr(predictor, 'own_vocabulary', None)
    names = list(vocabulary.names if vocabulary is not None else getattr(predictor, 'names', ()))
    if names:
        more = f' and {len(names) - _MOST_NAMES} more' if len(names) > _MOST_NAMES else ''
        listed = ', '.join(f'`{name.replace("`", "")}`' for name in names[:_MOST_NAMES])
        free = '; any other words can be given' if hasattr(predictor.model, 'set_vocabulary') else ''
        lines += ['', f'Classes: {listed}{more}{free}.']
    lines += ['', 'What it was trained on, for what it is good and where it fails: say it here.']
    return '\n'.join(lines)


def _usage(predictor: Predictor) -> str:
    call = _FUNCTIONS.get(predictor.task, "model('street.jpg', 'road; car; sky')").replace('picture', "'street.jpg'")
    return (
        '## Use\n\n```python\nimport denseclip\n\n'
        "model = denseclip.from_pretrained('FOLDER or org/name')\n"
        f"{call}.save('out')\n```\n\n"
        "`pip install 'denseclip-suite[mm,demo]'`. The config is data and is checked before anything is built from it."
    )

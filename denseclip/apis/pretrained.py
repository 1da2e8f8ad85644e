"""Models as folders and as repositories of the Hugging Face hub: safetensors, a config in JSON, and a card.

The mixin of ``huggingface_hub`` saves, pushes and fetches; what a folder holds and how it becomes a model is said here.
Nothing in a folder is run: weights are safetensors, and the config is looked at before anything is built from it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from mmengine.config import Config

from denseclip.apis.confidence import SUFFIX, TRAINED, save_calibrations
from denseclip.apis.errors import UserError
from denseclip.apis.predictor import Predictor
from denseclip.apis.pretrained_card import card_of
from denseclip.apis.pretrained_config import CARD, WEIGHTS, decoded, encoded
from denseclip.files.names import shown
from denseclip.files.provenance import provenance
from denseclip.files.scratch import ScratchFolder
from denseclip.files.shared_folder import CONFIG, LIBRARY
from denseclip.weights import write_safetensors

_CONFIDENCE = Path(WEIGHTS).stem + SUFFIX
FILES = (CONFIG, WEIGHTS, CARD, _CONFIDENCE)
"""What a folder holds; the last one only of models whose confidences are calibrated."""


class HubModel(
    ModelHubMixin, library_name=LIBRARY, pipeline_tag='image-segmentation', tags=['clip', 'open-vocabulary']
):
    """A model in the form that ``huggingface_hub`` handles.

    Args:
        predictor: The model.

    Attributes:
        predictor: The same.
    """

    def __init__(self, predictor: Any) -> None:
        self.predictor = predictor

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write config, weights and confidences."""
        content = config_of(self.predictor)
        meta = {'dataset_meta': content['dataset_meta']} if content.get('dataset_meta') else {}
        (save_directory / CONFIG).write_text(encoded(content), encoding='utf-8')
        state = {name: value.detach().cpu().contiguous() for name, value in self.predictor.model.state_dict().items()}
        origin = self.predictor.origin
        made = provenance(origin.weights, origin.config.filename)
        path = write_safetensors(state, save_directory / WEIGHTS, {**made, **meta})
        calibration = getattr(self.predictor, 'calibration', None)
        if calibration is not None:
            save_calibrations(path, {TRAINED: calibration})

    def generate_model_card(self, *args: Any, **kwargs: Any) -> Any:
        """The card of the zoo, or one that says what is known."""
        del args, kwargs
        return card_of(self.predictor)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        options: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> HubModel:
        """Bring the files here, and make the model."""
        if Path(model_id).is_dir():
            return cls(_load(Path(model_id), options or {}))
        place: Path | None = None
        for name in (CONFIG, WEIGHTS, _CONFIDENCE):
            try:
                found = hf_hub_download(
                    model_id,
                    name,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            except LocalEntryNotFoundError:  # a kind of EntryNotFoundError: not asked for, or the network failed
                if name != _CONFIDENCE or not local_files_only:
                    raise
                continue
            except EntryNotFoundError:
                if name != _CONFIDENCE:
                    raise
                continue
            place = Path(found).parent
        assert place is not None
        return cls(_load(place, options or {}))


def config_of(predictor: Predictor) -> dict[str, Any]:
    """What a folder says of a model.

    Raises:
        UserError: If the model cannot be made from its config and its weights.
    """
    origin = predictor.origin
    if origin is None or origin.weights is None:
        raise UserError(
            'this model has no weights of its own to save (a training-free method on a CLIP, or one that was built in '
            'memory): share its name and the CLIP instead.'
        )
    if predictor.compute is not None and predictor.compute.precision == 'int8-dynamic':
        raise UserError('the weights of this model were rounded to int8: load it in fp32 and save that.')
    if getattr(predictor.model, 'pixel_head', None) is not None:
        raise UserError(
            "this model has a head of 'denseclip adapt', which stays a file of its own: take it off by use_head(None), "
            'save, and give its file as head= (--head) with the saved model.'
        )
    cfg = origin.config
    from denseclip.apis.config import dataset_meta

    pipeline = cfg.get('test_pipeline') or _pipeline(cfg)
    content: dict[str, Any] = {
        'task': predictor.task,
        'default_scope': cfg.get('default_scope') or 'mmseg',
        'model': cfg.model.to_dict(),
        'test_pipeline': [step.to_dict() if hasattr(step, 'to_dict') else dict(step) for step in pipeline or []],
    }
    names = _names(predictor)
    known = {key: dataset_meta(cfg).get(key) for key in ('classes', 'palette')} if predictor.task != 'anomaly' else {}
    if names is not None and list(known.get('classes') or ()) != list(names):
        known = {'classes': list(names)}
    content['dataset_meta'] = {key: value for key, value in known.items() if value is not None}
    words = getattr(predictor, 'vocabulary', None)
    if words is not None and words != getattr(predictor, 'own_vocabulary', None):
        content['words'] = words.to_dict()
    things = getattr(predictor, 'things', None)
    if things is not None:
        content['things'] = things if isinstance(things, str) else list(things)
        content['things_of_all_words'] = predictor.keeps_things  # type: ignore[attr-defined]
    score = getattr(predictor, 'score', None)
    if score is not None:
        content['score'] = score
    return content


def _pipeline(cfg: Config) -> Any:
    return ((cfg.get('test_dataloader') or {}).get('dataset') or {}).get('pipeline')


def _names(predictor: Any) -> tuple[str, ...] | None:
    """The classes of a model whose words are not in its config."""
    if predictor.task == 'anomaly' or getattr(predictor.model, 'vocabulary', None) is not None:
        return None
    return tuple(predictor.own_vocabulary.names if hasattr(predictor, 'own_vocabulary') else predictor.names)


def save(predictor: Predictor, folder: str | Path, force: bool) -> Path:
    """See :meth:`Predictor.save_pretrained`."""
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise UserError(f"'{target}' is no folder: name another one.")
    there = [name for name in FILES if (target / name).exists()]
    if there and not force:
        raise UserError(f"'{target}' holds {', '.join(there)}: name another folder, or give force=True.")
    target.mkdir(parents=True, exist_ok=True)
    with ScratchFolder(target, '.saving-') as scratch:  # whole files, or none
        HubModel(predictor).save_pretrained(scratch.path)
        for name in FILES:
            (target / name).unlink(missing_ok=True)
            if (scratch.path / name).exists():
                shutil.move(scratch.path / name, target / name)
    return target


def push(predictor: Predictor, repository: str, **options: Any) -> str:
    """See :meth:`Predictor.push_to_hub`."""
    config_of(predictor)  # said before a repository is made
    try:
        return str(HubModel(predictor).push_to_hub(repository, **options))
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"'{repository}' cannot be written to ({reason}): log in with 'hf auth login'.") from error


def from_pretrained(
    source: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
    **options: Any,
) -> Predictor:
    """A model that :meth:`Predictor.save_pretrained` or :meth:`Predictor.push_to_hub` wrote.

    Args:
        source: A folder, or ``org/name`` on the hub; ``local-dir:FOLDER`` and ``hf-hub:org/name[@revision]`` say which.
        revision: Of a repository: a branch, a tag or a commit.
        cache_dir: Where repositories are kept; None: the hub's own cache.
        force_download: Fetch anew what is there.
        local_files_only: Ask no network.
        token: For repositories that are not public.
        **options: Arguments of ``load_model``: ``words``, ``task``, ``things``, ``score``, ``device`` ...

    Returns:
        What ``load_model`` returns.

    Raises:
        UserError: If there is no such model, or its config asks for code.
        WeightFileError: If its weights cannot be read.
    """
    text = str(source)
    if text.startswith('hf-hub:'):
        text, _, at = text.removeprefix('hf-hub:').partition('@')
        revision = at or revision
    elif text.startswith('local-dir:') or Path(text).is_dir():
        folder = Path(text.removeprefix('local-dir:')).expanduser()
        if not (folder / CONFIG).is_file():
            raise UserError(f"'{folder}' holds no {CONFIG}: name a folder that save_pretrained() wrote.")
        text = str(folder)
    try:
        found = HubModel.from_pretrained(
            text,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only or not (Path(text).is_dir() or _online()),
            token=token,
            options=options,
        )
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(
            f"the {CONFIG} of '{shown(text)}' cannot be read as JSON: save or download it again."
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, EntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"there is no model '{shown(text)}' that could be had ({reason}): check the name and the network, or give "
            'a folder.'
        ) from error
    return found.predictor


def _online() -> bool:
    from denseclip.weights.hub import hub_reachable

    return hub_reachable()


def _load(folder: Path, options: Mapping[str, Any]) -> Predictor:
    """The model of a folder."""
    from denseclip.apis.loading import load_model
    from denseclip.apis.mask_inferencer import MaskInferencer

    content = decoded(folder / CONFIG)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise UserError(f"'{folder}' holds no {WEIGHTS}: it is not whole; save or download it again.")
    cfg = Config({key: content[key] for key in ('model', 'test_pipeline', 'default_scope') if key in content})
    said = {key: content[key] for key in ('words', 'score') if content.get(key) is not None}
    if content.get('task') in ('panoptic', 'instance') and _takes_tasks(cfg):
        said['task'] = content['task']
    things = None if options.keys() & {'words', 'things'} else content.get('things')  # they belong to the words
    if things is not None and content.get('things_of_all_words'):
        said['things'], things = things, None
    model = load_model(config=cfg, weights=weights, **{**said, **options})
    if things is not None and isinstance(model, MaskInferencer):
        model.set_vocabulary(model.vocabulary, things)
    return model


def _takes_tasks(cfg: Config) -> bool:
    from denseclip.apis.config import inference_config
    from denseclip.engine.model_class import model_class

    return not hasattr(model_class(inference_config(cfg), 'mmseg'), 'with_bbox')

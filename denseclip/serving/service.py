"""A model that several people ask at the same time, each with words of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.images import Picture
from denseclip.apis.predictor import Predictor
from denseclip.apis.results.base import Result
from denseclip.clip.vocabulary import Vocabulary, text_vocabulary
from denseclip.serving.limits import Limits
from denseclip.serving.problems import Problem
from denseclip.serving.queue import Line

SEGMENT, DETECT, ANOMALY = 'segment', 'detect', 'anomaly'
_SEVERAL = ('semantic', 'panoptic', 'instance')


@dataclass(frozen=True)
class Wanted:
    """What a request wants of a picture; equal ones of one picture size run together.

    Attributes:
        kind: Of the result: ``'semantic'``, ``'panoptic'``, ``'instance'`` or ``'anomaly'``.
        words: Classes; None: the model's own.
        options: Further arguments of the model's call, as pairs.
    """

    kind: str
    words: Vocabulary | None = None
    options: tuple[tuple[str, Any], ...] = ()


class Service:
    """One model, its line, and what it can do.

    Args:
        model: Any of ``load_model``, or an exported one.
        name: What it is called.
        limits: What a request may cost.
        needs_words: Whether the words that it has now are none to answer with.
        told: Called with the number of pictures of each run.

    Attributes:
        own_words: The words of requests without words; None: it has none, or takes none.
        endpoints: What it answers: some of ``'segment'``, ``'detect'`` and ``'anomaly'``.
        kinds: Kinds of results that it gives, its own first.
    """

    def __init__(
        self,
        model: Predictor,
        name: str,
        limits: Limits,
        *,
        needs_words: bool = False,
        told: Callable[[int], None] | None = None,
    ) -> None:
        self.model, self.name, self.limits = model, name, limits
        self.own_words = None if needs_words else _present_words(model)
        model.most_at_once = limits.batch
        self._several = hasattr(model, 'set_task') and _counts_things(model)
        self.endpoints: tuple[str, ...]
        self.kinds: tuple[str, ...]
        if model.task == 'anomaly':
            self.endpoints, self.kinds = (ANOMALY,), ('anomaly',)
        elif hasattr(model, 'detect'):
            self.endpoints, self.kinds = (DETECT,), ('instance',)
        elif self._several:
            others = tuple(kind for kind in _SEVERAL if kind != model.task)
            self.endpoints, self.kinds = (SEGMENT, DETECT), (model.task, *others)
        else:
            self.endpoints, self.kinds = (SEGMENT,), ('semantic',)
        _without_disk(model)
        self.line = Line(self._run, limits.batch, told)

    @property
    def free_words(self) -> bool:
        """Whether a request may bring words."""
        words = getattr(getattr(self.model, 'manifest', None), 'words', None)
        if hasattr(self.model, 'manifest'):  # an export
            return words is not None and 'embeddings' not in self.model.manifest.files
        return SEGMENT in self.endpoints and hasattr(self.model.model, 'set_vocabulary')

    def check(self, endpoint: str) -> None:
        """Refuse a request that the model is not made for.

        Raises:
            Problem: Then.
        """
        if endpoint not in self.endpoints:
            does = ' and '.join(f'POST /{name}' for name in self.endpoints)
            raise Problem(
                404,
                f"this server's model ({self.name}) does not answer /{endpoint}: use {does}, or start a server with a "
                'model for it (denseclip serve --model NAME).',
            )

    def check_words(self, words: Vocabulary | None) -> Vocabulary | None:
        """Refuse words that are missing, too many, or of no use to the model.

        Returns:
            The words to run with.

        Raises:
            Problem: Then.
        """
        if words is None:
            if self.own_words is None:
                raise Problem(422, "this model brings no classes: send some in the field 'words', such as road; sky.")
            return None
        if not self.free_words and words != self.own_words:
            listed = ', '.join(self.own_words.names[:10]) if self.own_words else ''
            raise Problem(422, f"this model's classes are fixed ({listed}): leave the field 'words' out.")
        if len(words.prompts) > self.limits.words:
            raise Problem(
                422,
                f'these are {len(words.prompts)} names, and this server takes {self.limits.words} (--max-words): send '
                'fewer.',
            )
        return words

    def ask(self, picture: Picture, wanted: Wanted) -> Future[Result]:
        """Put a picture in line.

        Raises:
            Problem: If the server stops.
        """
        try:
            return self.line.ask((wanted, picture.rgb.shape), picture)
        except RuntimeError as error:
            raise Problem(503, 'the server stops: try again when it is back.') from error

    def close(self) -> None:
        """Answer those who wait, and stop."""
        self.line.close()

    def _run(self, key: tuple[Wanted, tuple[int, ...]], pictures: Sequence[Picture]) -> Sequence[Result]:
        """Results of pictures; the line calls it, and nobody else."""
        wanted = key[0]
        options = dict(wanted.options)
        if wanted.kind != 'anomaly' and SEGMENT in self.endpoints:
            if self._several and self.model.task != wanted.kind:
                self.model.set_task(wanted.kind)  # type: ignore[attr-defined]
            return self.model(list(pictures), wanted.words or self.own_words, **options)
        return self.model(list(pictures), **options)


def check_beside(first: Service, others: Sequence[Service]) -> None:
    """Let models answer the same words, and refuse those that cannot be compared.

    Args:
        first: The model of requests that name none.
        others: Those that stand beside it.

    Raises:
        UserError: If one has the name of another, does not label pixels, or takes no words where the first does.
    """
    known = {first.name}
    for service in (first, *others) if others else ():
        if SEGMENT not in service.endpoints or service.kinds[0] != 'semantic':
            raise UserError(f"'{service.name}' labels no pixels by class, so that nothing can be compared (--beside).")
        if service.free_words != first.free_words or not (service.free_words or service.own_words == first.own_words):
            raise UserError(f"'{service.name}' and '{first.name}' do not take the same words (--beside).")
    for service in others:
        if service.name in known:
            raise UserError(f"'{service.name}' is served already: name it once (--beside).")
        known.add(service.name)
        service.own_words = first.own_words  # requests without words mean one list to all


def _present_words(model: Any) -> Vocabulary | None:
    """The words that a model has now."""
    if not hasattr(model, 'segment'):
        return None
    try:
        return model.vocabulary
    except UserError:  # an export without classes
        return None


def _counts_things(model: Any) -> bool:
    """Whether a model gives segments and instances besides labels."""
    if hasattr(model, 'set_things'):  # an export
        return True
    from denseclip.core.words import TakesWords

    kind = type(model.model)
    return issubclass(kind, TakesWords) and kind.set_task is not TakesWords.set_task


def _without_disk(model: Predictor) -> None:
    """Let no bank of texts write the words of strangers to the disk, where they would pile up."""
    if not hasattr(model.model, 'modules'):
        return
    from denseclip.clip.text_bank import TextBank

    for part in model.model.modules():
        for value in vars(part).values():
            bank = value if isinstance(value, TextBank) else getattr(value, 'bank', None)
            if isinstance(bank, TextBank):
                bank.cache = None


def words_of(text: str | None, background: str | None, limits: Limits) -> tuple[Vocabulary | None, tuple[str, ...]]:
    """Words as somebody sends them: the name of a list of the suite, or text in the grammar; never a file.

    Args:
        text: The words; None: the model's own.
        background: What is no class, separated by "," or ";".
        limits: How long they may be.

    Returns:
        The words, and how they were read where they could mean something else.

    Raises:
        Problem: If there are too many.
        VocabularyError: If they cannot be used.
    """
    for field, given in (('words', text), ('background', background)):
        if given is not None and len(given) > limits.characters:
            raise Problem(
                422,
                f"field '{field}' has {len(given):,} characters, and this server takes {limits.characters:,} for "
                f'{limits.words} names (--max-words): send fewer.',
            )
    if text is None or not text.strip():
        if background:
            raise Problem(422, "a background needs words to set it off from: send the field 'words', too.")
        return None, ()
    found, notes = text_vocabulary(text.strip())
    names = [name for name in (background or '').replace(';', ',').split(',') if name.strip()]
    if names:
        found = Vocabulary(found.classes, 'prompts', tuple(names), shared_names=found.shared_names)
    return found, notes


def described(vocabulary: Vocabulary | None) -> list[dict[str, Any]]:
    """Words as they were understood, for JSON."""
    if vocabulary is None:
        return []
    return [{'name': entry.name, 'synonyms': list(entry.synonyms)} for entry in vocabulary.classes]

"""What every loaded model answers: it is called with a picture, a list of them, or a folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from denseclip.apis.images import ImageLike, Images, UnreadableImageError
from denseclip.apis.inputs import expand_inputs
from denseclip.apis.results.base import Result

if TYPE_CHECKING:
    from denseclip.engine.compute import Compute


@dataclass(frozen=True)
class Origin:
    """What a model was made from.

    Attributes:
        config: Its config.
        weights: Its checkpoint; None: it has none of its own.
    """

    config: Any
    weights: str | None


class Predictor(ABC):
    """A model, ready for pictures.

    Attributes:
        model: The network.
        task: What it gives: ``'semantic'``, ``'panoptic'``, ``'instance'`` or ``'anomaly'``.
        compute: How it computes; None: in float32, as it was built.
        most_at_once: Pictures of one shape that run together.
        origin: What it was made from; None: built in memory, or by a training-free method.
    """

    model: Any
    task: str
    compute: Compute | None = None
    most_at_once: int = 16
    origin: Origin | None = None

    @property
    def precision(self) -> str:
        """What the model computes in, one of :data:`denseclip.core.precision.PRECISIONS`."""
        return 'fp32' if self.compute is None else self.compute.precision

    def use(self, compute: Compute) -> None:
        """Compute in another way from now on; weights that were rounded stay so.

        Args:
            compute: Precision, memory layout and graphs.

        Raises:
            ValueError: If the machine or the model cannot.
        """
        compute.prepare(self.model)
        self.compute = compute

    def save_pretrained(self, folder: str | Path, force: bool = False) -> Path:
        """Write the model as a folder: ``config.json``, ``model.safetensors``, ``README.md`` (its card).

        ``denseclip.from_pretrained``, ``load_model('local-dir:FOLDER')`` and ``--model FOLDER`` read it; no network is
        needed.

        Args:
            folder: Made if need be.
            force: Whether an earlier model in it may be replaced.

        Returns:
            The folder.

        Raises:
            UserError: If there is one, or the model has no weights of its own.
        """
        from denseclip.apis.pretrained import save

        return save(self, folder, force)

    def push_to_hub(self, repository: str, **options: Any) -> str:
        """Write the same into a repository of the Hugging Face hub.

        Args:
            repository: ``org/name``; made if need be.
            **options: Of ``huggingface_hub.ModelHubMixin.push_to_hub``: ``private``, ``token``, ``commit_message``,
                ``branch``, ``create_pr`` ...

        Returns:
            Address of the commit.

        Raises:
            UserError: If the model has no weights of its own, or the hub refuses.
        """
        from denseclip.apis.pretrained import push

        return push(self, repository, **options)

    @overload
    def __call__(self, pictures: ImageLike, *args: Any, **options: Any) -> Result: ...

    @overload
    def __call__(self, pictures: Images, *args: Any, **options: Any) -> list[Result]: ...

    def __call__(self, pictures: Any, *args: Any, **options: Any) -> Any:
        """Look at a picture, at several, or at a folder.

        Args:
            pictures: A picture in any form that :meth:`Inferencer.segment` knows, or a list of them; those of one size
                run together. A folder, or a pattern such as ``'shots/*.jpg'``, stands for the pictures in it.
            *args: Further arguments of ``segment``, ``detect`` or ``localize``.
            **options: See there.

        Returns:
            A result; a list of results for several pictures, a folder or a pattern. For thousands of pictures see
            :meth:`stream`.

        Raises:
            UnreadableImageError: If a file cannot be read.
            UserError: If it is no picture, or a folder without any.
        """
        if stands_for_files(pictures):
            return self._find(expand_inputs([pictures]), *args, **options)
        return self._find(pictures, *args, **options)

    @abstractmethod
    def _find(self, image: Any, *args: Any, **options: Any) -> Any:
        """A result for a picture, a list of results for a list."""

    def stream(
        self,
        pictures: str | Path | Iterable[str | Path],
        *args: Any,
        failures: list[UnreadableImageError] | None = None,
        **options: Any,
    ) -> Iterator[Result]:
        """Look at files one after the other; no more than one result is kept.

        Args:
            pictures: Files, folders and patterns, or one of them.
            *args: Further arguments of ``segment``, ``detect`` or ``localize``.
            failures: Gets the errors of files that cannot be read, which stop nothing then.
            **options: See ``args``.

        Yields:
            A result for each file, in order; its ``source`` says which.

        Raises:
            UnreadableImageError: If a file cannot be read and there is no list of ``failures``.
        """
        for path in expand_inputs([pictures] if isinstance(pictures, str | Path) else pictures):
            try:
                yield self._find(path, *args, **options)
            except UnreadableImageError as error:
                if failures is None:
                    raise
                failures.append(error)

    def _step(self, batch: Any) -> Any:
        """The model's data samples for a batch, computed as asked for."""
        if self.compute is None:
            return self.model.test_step(batch)
        with self.compute.running(self.model):
            return self.model.test_step(batch)


def stands_for_files(pictures: Any) -> bool:
    """Whether a name means a folder or a pattern and not a file."""
    if not isinstance(pictures, str | Path):
        return False
    path = Path(pictures)
    return path.is_dir() or (not path.exists() and any(sign in str(pictures) for sign in '*?['))

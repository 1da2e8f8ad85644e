"""A shard from its pictures to its part: at full speed first, picture by picture where something is wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from denseclip.apis.batch_sizes import BatchSize
from denseclip.apis.labelling.cluster import parts
from denseclip.apis.labelling.cluster.members import Member, MissingError, NotFetchedError, SourceError, members
from denseclip.apis.labelling.cluster.parts import Facts, Letter
from denseclip.apis.labelling.cluster.places import Place
from denseclip.apis.labelling.cluster.plan import pieces_of
from denseclip.apis.labelling.cluster.sources import Piece, Source
from denseclip.apis.labelling.cluster.tries import Tries
from denseclip.apis.labelling.objects import Rules, confidences_of, objects_of
from denseclip.apis.labelling.store import Record, Run
from denseclip.apis.labelling.tables import mask_picture
from denseclip.apis.pipeline import Outcome, outcomes
from denseclip.apis.predictor import Predictor
from denseclip.apis.results.sheets import png
from denseclip.files.names import readable

DIED = 'its process died while it looked at this picture: out of memory, or a crash in native code'
_BROKEN = ('CUDA error', 'CUBLAS_STATUS', 'CUDNN_STATUS')
"""What errors of the device say; before it had AcceleratorError, PyTorch raised them as RuntimeError."""
_ALL_FAIL = 10  # pictures of a shard without a result that speak against the model


class ShardError(Exception):
    """Nothing of a shard could be labelled, and its pictures are not to blame: it stays for the next run."""


class UnusableProcessError(Exception):
    """The device is in no state to go on; a new process is needed."""


@dataclass
class _Ledger:
    """What has become of the pictures of a shard, by their places in it."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Pictures that are missing, and those that the model failed at, with the reasons."""

    def check(self) -> None:
        """Refuse a shard whose pictures are not to blame.

        Raises:
            ShardError: If all of them are missing, or the model fails at everything.
        """
        if len(self.failed) >= _ALL_FAIL and not self.rows:
            raise ShardError(self.failed[0])


@dataclass
class ShardWorker:
    """Labels shards, one after the other.

    Attributes:
        place: The output.
        source: What there is to label.
        run: What the output was begun with.
        rules: Which findings become objects.
        model: The model.
        call: Options of the model's calls.
        batch: How many pictures run together.
    """

    place: Place
    source: Source
    run: Run
    rules: Rules
    model: Predictor
    call: dict[str, Any]
    batch: BatchSize

    def label(self, shard: int) -> tuple[Facts, bool]:
        """Label a shard, unless it is finished.

        Returns:
            What its part says of itself, and whether it is new.

        Raises:
            ShardError: If nothing could be labelled for a reason that is not in the pictures, or one did not come.
            OSError: If a table or an archive is gone or a store does not answer; its client may raise others.
            SourceError: If the source is not as it has to be.
            UnusableProcessError: If the process cannot go on.
        """
        if self.place.has(parts.name_of(shard)):
            return parts.read_facts(self.place, shard, self.run), False
        pieces = pieces_of(self.place, shard)
        tries, ledger = Tries(self.place, shard), _Ledger()
        try:
            if tries.careful or not self._all(pieces, ledger, tries):
                self._rest(pieces, ledger, tries)
            tries.rest()
        except UnusableProcessError:  # as good as a death
            raise
        except Exception:
            tries.alive()
            raise
        ledger.check()
        rows = [ledger.rows[index] for index in sorted(ledger.rows)]
        facts = parts.write(self.place, shard, rows, sorted(ledger.letters, key=lambda letter: letter.index), self.run)
        tries.clear()
        return facts, True

    def _all(self, pieces: list[Piece], ledger: _Ledger, tries: Tries) -> bool:
        """Look at all pictures in batches; whether each has a row now."""
        coming: deque[Member] = deque()

        def noted() -> Iterator[Member]:
            for member in members(self.source, pieces):
                coming.append(member)
                yield member

        whole = True
        found = outcomes(self.model, noted(), self.batch, read=Member.picture, begin=tries.count, **self.call)
        try:
            for index, outcome in enumerate(found):
                member = coming.popleft()
                if outcome.result is None:
                    whole = False
                    tries.count([index])
                else:
                    ledger.rows[index] = self._row(member, index, outcome)
                    tries.found(index)
        except (OSError, SourceError):
            raise
        except Exception as error:  # of the model: which picture it was is seen when they are looked at one by one
            _check_process(error)
            whole = False
        return whole

    def _rest(self, pieces: list[Piece], ledger: _Ledger, tries: Tries) -> None:
        """Look at those that have no row, one by one; those that fail again get a letter."""
        for index, member in enumerate(members(self.source, pieces)):
            if index in ledger.rows:
                continue
            if tries.fatal(index):
                ledger.letters.append(Letter(member.key, member.file, index, DIED, tries.looks(index)))
                continue
            self._one(member, index, ledger, tries)

    def _one(self, member: Member, index: int, ledger: _Ledger, tries: Tries) -> None:
        reason, to_blame = '', True
        for last in (False, True):
            tries.look(index)
            try:
                outcome = next(outcomes(self.model, [member], BatchSize(1), read=Member.picture, **self.call))
                if outcome.result is not None:
                    ledger.rows[index] = self._row(member, index, outcome)
                    tries.found(index)
                    return
            except Exception as error:  # whatever a model does with a picture, the others go on
                _check_process(error)
                reason = ' '.join(readable(f'the model fails at it: {type(error).__name__}: {error}').split())
                to_blame = False
                continue
            reason = ' '.join(readable(outcome.error).split())
            to_blame = not isinstance(outcome.error, MissingError)
            if last and isinstance(outcome.error, NotFetchedError):
                raise ShardError(reason)  # the next would not come either
        if not to_blame:
            ledger.failed.append(f'{member.key}: {reason}')
        ledger.letters.append(Letter(member.key, member.file, index, reason, tries.looks(index)))

    def _row(self, member: Member, index: int, outcome: Outcome) -> dict[str, Any]:
        assert outcome.result is not None
        height, width = (int(side) for side in outcome.result.image.shape[:2])
        objects = objects_of(outcome.result, self.rules, rest=self.run.background)
        found = parts.row(member.key, member.file, index, (height, width), objects, self.run)
        if self.run.options.get('label_maps'):
            record = Record(member.key, member.key, '', '', (height, width), tuple(objects))
            [(_, found[parts.LABEL_MAP])] = mask_picture(record, self.run)
        sure = confidences_of(outcome.result) if self.run.options.get('confidences') else None
        if sure is not None:
            found |= {parts.CONFIDENCE: float(sure.mean()) / 255, parts.CONFIDENCES: png(sure)}
        return found


def _check_process(error: Exception) -> None:
    """Refuse to go on after an error of the device, which all further calls would raise again."""
    broken = isinstance(error, RuntimeError) and any(word in str(error) for word in _BROKEN)
    if type(error).__name__ == 'AcceleratorError' or (broken and type(error).__name__ != 'OutOfMemoryError'):
        raise UnusableProcessError(str(error)) from error

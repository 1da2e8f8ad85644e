"""Decisions that people made on the page: read, checked as a whole, and then applied as a whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.folder import set_files, settle
from denseclip.apis.labelling.layouts import LAYOUTS
from denseclip.apis.labelling.store import Record, Run, Store, apply_decisions
from denseclip.files.names import shown

KIND, VERSION = 'denseclip decisions', 1
ACTIONS = ('keep', 'drop', 'relabel')
_LARGEST = 2**28  # bytes


def apply_file(folder: str | Path, path: str | Path) -> dict[str, int]:
    """Apply a file of decisions to a labelled folder.

    Earlier decisions stay unless the file says otherwise about the same object. What is decided is noted first; a run
    that is killed while it writes label files leaves the rest to the next command on the folder.

    Args:
        folder: What ``denseclip label`` wrote.
        path: What the page has saved.

    Returns:
        How many objects are kept, dropped and relabelled by the file.

    Raises:
        UserError: If the file is damaged, of another folder, or speaks of what is not there; if label files were
            changed since they were written. Nothing is changed then.
    """
    store = Store(Path(folder))
    run = store.opened()
    layout = LAYOUTS[run.layout]
    content = _read(Path(path))
    try:
        with store.alone():
            settle(store, layout, run)
            records = {record.name: record for record in store.records()}
            decided = _checked(content, Path(path), records, run)
            before = store.decisions()
            after = _merged(before, decided)
            changed = [name for name in records if before.get(name, {}) != after.get(name, {})]
            _refuse_edited(store, run, [apply_decisions(records[name], before.get(name, {})) for name in changed])
            decided_on = [apply_decisions(record, after.get(name, {})) for name, record in records.items()]
            # Refuses while nothing is decided yet.
            files = set_files(store, layout, run, decided_on) if changed else {}
            store.decide(after, pending=changed)
            settle(store, layout, run, files)
    except OSError as error:
        raise UserError(f"cannot write '{error.filename or folder}': {error.strerror or error}.") from error
    return dict(Counter(entry['action'] for entry in content['decisions']))


def _read(path: Path) -> dict[str, Any]:
    """The content of a file, as far as it can be told without the labels."""
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"'{path}' is too large for a file of decisions.")
        content = json.loads(path.read_text(encoding='utf-8-sig'))
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be read ({error.strerror}); name the file that the page has saved."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is no readable JSON ({error}); save it from the page again.") from error
    if not isinstance(content, dict) or content.get('kind') != KIND or content.get('version') != VERSION:
        raise UserError(f"'{path}' holds no decisions of 'denseclip review'; save them from the page.")
    if not isinstance(content.get('decisions'), list):
        raise UserError(f'\'{path}\': "decisions" is no list; save it from the page again.')
    return content


def _checked(
    content: Mapping[str, Any], path: Path, records: Mapping[str, Record], run: Run
) -> dict[str, dict[str, int | None]]:
    """Decisions by picture and object: a label, or None to drop it."""
    if content.get('labels') != run.id:
        raise UserError(f"'{path}' is about another labelled folder; apply it to the one whose page it was saved from.")
    labels = {name: label for label, name in enumerate(run.names)}
    found: dict[str, dict[str, int | None]] = {}
    for number, entry in enumerate(content['decisions'], start=1):
        try:
            name, place, label = _one(entry, records, labels)
        except (ValueError, TypeError, KeyError) as error:
            reason = f'it has no {error}' if isinstance(error, KeyError) else error
            raise UserError(f"'{path}', decision {number}: {reason}. Nothing was changed.") from error
        if place in found.setdefault(name, {}):
            raise UserError(f"'{path}', decision {number}: object {place} of '{shown(name)}' is decided on twice.")
        found[name][place] = label
    return found


def _one(entry: Any, records: Mapping[str, Record], labels: Mapping[str, int]) -> tuple[str, str, int | None]:
    """One decision.

    Raises:
        KeyError: If a key is missing.
        ValueError: If it speaks of what is not there.
    """
    if not isinstance(entry, dict):
        raise ValueError(f'{entry!r:.40} is no decision')
    name, number, action = entry['picture'], entry['object'], entry['action']
    record = records.get(name) if isinstance(name, str) else None
    if record is None:
        raise ValueError(f'there is no picture {shown(repr(name)):.80}')
    known = {found.id: found for found in record.objects if found.label in labels.values()}
    if type(number) is not int or number not in known:  # 1.0 and True equal 1, and are written otherwise
        raise ValueError(f"'{shown(name)}' has no object {number!r:.40}")
    if action not in ACTIONS:
        raise ValueError(f'the action {action!r:.40} is none of {", ".join(ACTIONS)}')
    if action == 'relabel' and entry['label'] not in labels:
        raise ValueError(f'there is no class {shown(repr(entry["label"])):.80}')
    label = {'drop': None, 'keep': known[number].label}.get(action)
    return name, str(number), labels[entry['label']] if action == 'relabel' else label


def _merged(
    before: Mapping[str, Mapping[str, int | None]], new: Mapping[str, Mapping[str, int | None]]
) -> dict[str, dict[str, int | None]]:
    return {name: {**before.get(name, {}), **new.get(name, {})} for name in sorted({*before, *new})}


def _refuse_edited(store: Store, run: Run, records: list[Record]) -> None:
    """Keep label files that somebody has corrected by hand from being written anew."""
    for record in records:
        for name, content in LAYOUTS[run.layout].of_picture(record, run):
            path = store.folder / name
            expected = content.encode('utf-8') if isinstance(content, str) else content
            if path.exists() and path.read_bytes() != expected:
                raise UserError(
                    f"'{path}' was changed since it was written, and decisions about it would undo that; move it away "
                    'to have it written anew, or leave its picture out of the decisions.'
                )

"""Whatever stands in an entry of the text cache, the embeddings are the tower's, and the entry is sound afterwards."""

import tempfile
import warnings
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from denseclip.clip.text import CLIPTextTower
from denseclip.clip.text_bank import TextBank
from denseclip.clip.vocabulary import Vocabulary


def _tower():
    torch.manual_seed(0)
    return CLIPTextTower.create(context_length=30, width=16, heads=2, layers=1, embed_dim=8).eval()


_TOWER = _tower()
_WORDS = Vocabulary.of('road; car = automobile; sky')
_TRUTH = TextBank(_TOWER).encode(_WORDS).embeddings


def _entry():
    with tempfile.TemporaryDirectory() as folder:
        TextBank(_TOWER, cache_dir=folder).encode(_WORDS)
        (path,) = (path for path in Path(folder).rglob('*') if path.is_file())
        return path.relative_to(folder), path.read_bytes()


_NAME, _GOOD = _entry()


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cut=st.none() | st.integers(0, len(_GOOD)),
    places=st.lists(st.tuples(st.integers(0, len(_GOOD) - 1), st.integers(0, 255)), max_size=6),
    extra=st.binary(max_size=30),
)
def holds(cut, places, extra):
    """A good entry with bytes changed, removed and added."""
    content = bytearray(_GOOD[:cut])
    for place, value in places:
        if place < len(content):
            content[place] = value
    content += extra
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter('always')
            found = TextBank(_TOWER, cache_dir=folder).encode(_WORDS).embeddings
        assert torch.equal(found, _TRUTH)
        assert len(said) <= 1, [str(warning.message) for warning in said]
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert torch.equal(TextBank(_TOWER, cache_dir=folder).encode(_WORDS).embeddings, _TRUTH)

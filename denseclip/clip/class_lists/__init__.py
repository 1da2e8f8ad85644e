"""Class lists as people have them; what each is taken for is said in notes."""

from .files import LIST_SUFFIXES, read_list
from .structure import ClassList, VocabularyError
from .text import parse_grammar, parse_text

__all__ = ['LIST_SUFFIXES', 'ClassList', 'VocabularyError', 'parse_grammar', 'parse_text', 'read_list']

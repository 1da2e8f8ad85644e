"""Sentences for pairs of classes on the command line."""

import argparse

import pytest
from tiny_open_vocab import tiny_open_vocab

from denseclip.cli.segment import add_word_options, vocabulary_from_args
from denseclip.clip.class_lists import VocabularyError


def words(*options: str):
    parser = argparse.ArgumentParser()
    add_word_options(parser)
    return vocabulary_from_args(parser.parse_args(options))


def test_a_file_of_pairs_is_told_from_one_of_classes(tmp_path, capsys):
    pairs, looks = tmp_path / 'pairs.json', tmp_path / 'looks.json'
    pairs.write_text('{"cup | bottle": [["a mug with a handle", "a bottle with a neck"]]}')
    looks.write_text('{"mug": ["a handle"], "bottle": ["a neck"]}')
    found = words('--classes', 'mug = cup; bottle', '--descriptions', str(pairs))
    assert found.differences[0].classes == ('mug', 'bottle') and not found.sentences
    assert words('--classes', 'mug; bottle', '--descriptions', str(looks)).sentences
    with pytest.raises(VocabularyError, match='both among the classes'):
        words('--classes', 'key; hat', '--descriptions', str(pairs))
    with pytest.raises(ValueError, match='--method ovseg, fcclip or maft'):
        tiny_open_vocab(vocabulary=found)

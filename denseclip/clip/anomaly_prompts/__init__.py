"""Sentences that describe an object in a good and in a bad state, from data files.

A prompt set is a JSON file: ``domains`` (kinds of pictures, each a list of noun phrases with their article), ``frames``
(sentences with ``{article}``, ``{domain}`` and a place ``{}`` for the object in its state), ``states`` (``normal`` and
``abnormal``, each a list with a place ``{}`` for the object), and a few rules. All combinations are the prompts of a
state: domains outside, frames next, states inside.
"""

from .builder import StatePrompts, state_prompts
from .sets import PromptSet, PromptSetError, available, prompt_set

__all__ = ['PromptSet', 'PromptSetError', 'StatePrompts', 'available', 'prompt_set', 'state_prompts']

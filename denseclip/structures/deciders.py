"""Who decides about a mask of a two-stage model."""

DECIDERS = ('both stages', 'mask generator', 'CLIP', 'their mean')
"""Both name its class by themselves; only the mask generator does; only CLIP does; neither does, but their mean."""

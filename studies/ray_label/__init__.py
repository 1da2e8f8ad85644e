"""Labelling in shards on a real cluster of two nodes, with everything killed that can be killed."""

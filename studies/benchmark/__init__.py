"""Comparisons with the order of the authors' code: training steps and the second stage of OVSeg."""

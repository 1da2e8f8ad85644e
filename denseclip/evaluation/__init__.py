"""Metrics that MMSegmentation and MMDetection lack; their own metrics serve everything else."""

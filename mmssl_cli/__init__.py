"""Experiments in multi-modal recommendation: models, training, evaluation and reports."""

__version__ = "0.1.0"

"""Transformers as tensors only: no files, no text, no task."""

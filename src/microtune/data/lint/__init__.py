"""Measurements of rows before training, one idea a file, each reading the rows once and keeping little of them.

A measurement takes every `Seen` row (`add`) and says at the end what it found (`findings`) and which figures a report
may draw (`figures`). What needs all rows at once (near-duplicates, doubtful labels) reads a sample (sample.py). Words
for people stand in words_en.py and words_zh.py.
"""

"""The language models before the Transformer, under the same verbs."""

"""microtune: a language model through its whole working life on an ordinary computer."""

"""One module per verb; each imports only those to its left in the order of the design."""

"""What a caller's words mean: typed acts, from the router's fast path, a language model, or rules."""

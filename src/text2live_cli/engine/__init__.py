"""The method on one picture (paper §3.1): generator, edit layer, objective, training, delivery."""

"""`swatch`: a tiny text-image encoder, trained on pictures that the project paints itself.

Here is what reads it; bench/swatch_training/ paints the pictures and makes the weights.
"""

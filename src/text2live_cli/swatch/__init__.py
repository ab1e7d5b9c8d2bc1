"""`swatch`: a tiny text-image encoder that the project trains on pictures it paints itself.

`model.load_folded` is all that the rest of the package needs; `painter` and `train` make weights.
"""

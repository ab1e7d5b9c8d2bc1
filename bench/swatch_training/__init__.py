"""Painter and trainer of `swatch`, the embedded encoder: makes the bundled weights."""

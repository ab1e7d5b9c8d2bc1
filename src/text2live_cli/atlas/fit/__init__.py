"""Fitting the atlas of a clip (paper §3.2, after Kasten et al.)."""

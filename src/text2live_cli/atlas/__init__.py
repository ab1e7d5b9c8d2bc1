"""Layered atlases: a clip as one foreground and one background picture (paper §3.2, appendix A.4).

clip → flow → foreground masks → model (grid or nla) → fit → clip.atlas/ → maps of every frame.
"""

ATLAS = "atlas.safetensors"
"""The file of an atlas, in its folder."""
POOR = "poor"
"""How the verdict of a fit begins that edits will not sit well on."""

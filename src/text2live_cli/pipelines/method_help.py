"""What the command line says of the options for who knows the paper: every λ, every ablation."""

from __future__ import annotations

from ..config import MAX_LAMBDA, MAX_THREADS, Help, weight_in_words

METHOD = "Method"
"""Heading of the options that only those need who know the paper."""
ABLATIONS = ("structure", "sparsity", "screen", "bootstrap", "internal-dataset")
"""What `--without` can leave out."""
WITHOUT = Help(
    f"Ablations: without some of {', '.join(ABLATIONS)} (the crops and disturbances of the"
    " picture); several with commas.",
    metavar="TERM,…",
    panel=METHOD,
)
THREADS = Help(
    f"Of the processor, 1 to {MAX_THREADS}; each number rounds in its own way. Default: as many as"
    " the machine gives, measured for a second; in a resumed run, its own."
)
NO_GRAPHS = Help(
    "On an NVIDIA GPU, launch every kernel by itself, not whole steps as CUDA graphs.",
    panel=METHOD,
)
_TERMS = {
    "composition": ("the text in the composite", "Raise it where the edit is too faint."),
    "screen": (
        "the text in the layer over green",
        "Raise it where fire or smoke are not themselves, lower it where an object is repainted.",
    ),
    "structure": (
        "the source's structure",
        "Raise it where the shape is lost, lower it for another shape.",
    ),
    "form": ("the source's shading", "Raise it where the edit looks flat."),
    "sparsity": ("a small layer", "Raise it where haze lies beside the edit."),
    "sparsity_l1": (
        "mean |α| inside the sparsity",
        "Raise it for a layer that is opaque on less of the picture.",
    ),
    "bootstrap": (
        "the pull to the region",
        "Raise it where the edit leaves its place, lower it for effects that reach beyond.",
    ),
    "direction": (
        "the way from ROI to PROMPT",
        "Raise it where the edit resembles the source too much.",
    ),
    "keep": ("leaving what --keep names", "Raise it where that changes all the same."),
}
"""What a weight is of, and when one turns it."""


def weight_help(term: str) -> Help:
    """Of the weight of a term of the objective."""
    what, turned = _TERMS[term]
    limits = f"from 0 (without) to {MAX_LAMBDA:,.0f}"
    text = f"Weight of {what}, {limits}. {turned} Default: {weight_in_words(term)}."
    return Help(text, metavar="γ" if term == "sparsity_l1" else "λ", panel=METHOD)


def alias_help(ablation: str) -> Help:
    """Of the former name of an ablation."""
    return Help(f"As --without {ablation}.", hidden=True)

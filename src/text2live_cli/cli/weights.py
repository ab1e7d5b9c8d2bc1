"""`text2live weights`: the encoders' weights on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import Text2LiveError
from ..texts import visible
from .console import print_result
from .options import Debug, Flags, Json, Quiet
from .reporting import print_json, reporting

weights_app = typer.Typer(no_args_is_help=True, help="The CLIP weights on this machine.")
WeightsName = Annotated[str, typer.Argument(metavar="NAME", help="open_clip's MODEL/TAG.")]


@weights_app.command("list")
def weights_list(as_json: Json = False, debug: Debug = False) -> None:
    """Encoders to choose from, which of them are on this machine, and the words of `swatch`.

    Example: text2live weights list --words
    """
    with reporting(Flags(as_json=as_json, debug=debug)):
        from ..guide.swatch import vocabulary
        from ..guide.weights import listing

        words = vocabulary.CONCEPTS
        if as_json:
            rows = [vars(row) for row in listing()]
            print_json({"encoders": rows, "swatch": {k: list(v) for k, v in words.items()}})
            return
        for row in listing():
            state = (
                f"{row.size / 1e6:7.1f} MB"
                if row.size
                else "  embedded"
                if row.cached
                else "         -"
            )
            print_result(visible(f"{row.name:34} {state}  {row.where}"))
        print_result("\n`swatch` is small and knows only these words (and their synonyms):")
        for group, concepts in words.items():
            print_result(f"  {group}: {', '.join(concepts)}")


@weights_app.command("fetch")
def weights_fetch(
    name: WeightsName,
    force: Annotated[bool, typer.Option("--force", help="Also if they are here.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download the weights of NAME ahead of time.

    Example: text2live weights fetch ViT-B-32-quickgelu/openai
    """
    with reporting(Flags(quiet=quiet, debug=debug)) as progress:
        from ..guide.weights import fetch

        weights = fetch(name, progress, force)
        progress.message(f"{weights.path} (sha256 {weights.sha256})")


@weights_app.command("import")
def weights_import(
    file: Annotated[Path, typer.Argument(help="Weights: .safetensors, .pt, .pth or .bin.")],
    name: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="open_clip's MODEL/TAG. Default: by the file's SHA-256, if it is OpenAI's.",
        ),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Copy a file of weights into the cache, so that --clip NAME needs no network.

    Example: text2live weights import ViT-B-32.pt
    """
    with reporting(Flags(quiet=quiet, debug=debug)) as progress:
        from ..guide.weight_import import import_weights

        weights = import_weights(file, name, progress)
        progress.message(f"{weights.path}: --clip {weights.name} uses it")


@weights_app.command("path")
def weights_path(
    name: Annotated[str | None, typer.Argument(help="open_clip's MODEL/TAG.")] = None,
    debug: Debug = False,
) -> None:
    """Print where the weights of NAME are, or the cache folder.

    Example: text2live weights path
    """
    with reporting(Flags(debug=debug)):
        from ..guide.weights import cache_folder, cached

        if name is None:
            print_result(visible(str(cache_folder())))
            return
        weights = cached(name)
        if weights is None:
            raise Text2LiveError(f"{name} is not here yet: text2live weights fetch {name}")
        print_result(visible(str(weights.path)))


@weights_app.command("verify")
def weights_verify(name: WeightsName, quiet: Quiet = False, debug: Debug = False) -> None:
    """Hash the file of NAME and compare it with what the hub published.

    Example: text2live weights verify ViT-B-32-quickgelu/openai
    """
    with reporting(Flags(quiet=quiet, debug=debug)) as progress:
        from ..guide.weights import verify

        report = verify(name)
        if not report.ok:
            raise Text2LiveError(
                f"{report.path}: SHA-256 is {report.actual}, published was {report.published};"
                f" text2live weights fetch {name}"
            )
        progress.message(f"{report.path}: as published")

"""`text2live weights`: the encoders' weights on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import Text2LiveError
from ..guide.swatch import vocabulary
from ..guide.swatch.kinds import KINDS
from ..guide.weights import ListRow
from ..texts import visible
from .console import print_result
from .options import Debug, Flags, Json, Quiet
from .reporting import print_json, reporting

weights_app = typer.Typer(no_args_is_help=True, help="The CLIP weights on this machine.")
WeightsName = Annotated[str, typer.Argument(metavar="NAME", help="open_clip's MODEL/TAG.")]


@weights_app.command("list")
def weights_list(
    all_words: Annotated[
        bool, typer.Option("--words", help="All words that `swatch` reads, with their synonyms.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Encoders to choose from, which of them are on this machine, and the words of `swatch`.

    Example: text2live weights list --words
    """
    with reporting(Flags(as_json=as_json, debug=debug)):
        from ..guide.weights import listing

        rows = listing()
        if as_json:
            words = _words_as_json() if all_words else {}
            print_json({"encoders": [vars(row) for row in rows], "swatch": _concepts(), **words})
        elif all_words:
            _print_words()
        else:
            _print_encoders(rows)


def _concepts() -> dict[str, list[str]]:
    return {group: list(words) for group, words in vocabulary.CONCEPTS.items()}


def _words_as_json() -> dict[str, Any]:
    synonyms = {word: vocabulary.synonyms(word) for group in _concepts().values() for word in group}
    kinds = [
        {"kind": kind.name, "nearest": list(kind.nearest), "words": list(words)}
        for kind, words in KINDS.items()
    ]
    return {"synonyms": synonyms, "kinds": kinds}


def _print_encoders(rows: list[ListRow]) -> None:
    for row in rows:
        state = (
            f"{row.size / 1e6:7.1f} MB"
            if row.size
            else "  embedded"
            if row.cached
            else "         -"
        )
        print_result(visible(f"{row.name:34} {state}  {row.where}"))
    print_result("\n`swatch` is small and knows only these words (--words: and their synonyms):")
    for group, words in _concepts().items():
        print_result(f"  {group}: {', '.join(words)}")


def _print_words() -> None:
    """Every word that is read, then those that are not, by the words that are nearest to them."""
    for group, words in _concepts().items():
        print_result(f"{group}:")
        for word in words:
            print_result(f"  {', '.join([word, *vocabulary.synonyms(word)])}")
    print_result(
        "\nNot known; with --box, --point or --mask a thing is read as the first known thing of its"
        " kind:"
    )
    for kind, unknown in KINDS.items():
        nearest = ", ".join(kind.nearest) or "nothing"
        print_result(f"  {kind.name}, nearest {nearest}: {', '.join(unknown)}")


@weights_app.command("fetch")
def weights_fetch(
    name: WeightsName,
    force: Annotated[bool, typer.Option("--force", help="Also if they are here.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Download the weights of NAME ahead of time.

    Example: text2live weights fetch ViT-B-32-quickgelu/openai
    """
    with reporting(Flags(quiet=quiet, as_json=as_json, debug=debug)) as progress:
        from ..guide.weights import fetch

        weights = fetch(name, progress, force)
        if as_json:
            _print_file("fetch", weights.name, weights.path, sha256=weights.sha256)
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
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy a file of weights into the cache, so that --clip NAME needs no network.

    Example: text2live weights import ViT-B-32.pt
    """
    with reporting(Flags(quiet=quiet, as_json=as_json, debug=debug)) as progress:
        from ..guide.weight_import import import_weights

        weights = import_weights(file, name, progress)
        if as_json:
            _print_file("import", weights.name, weights.path, sha256=weights.sha256)
        progress.message(f"{weights.path}: --clip {weights.name} uses it")


@weights_app.command("path")
def weights_path(
    name: Annotated[str | None, typer.Argument(help="open_clip's MODEL/TAG.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print where the weights of NAME are, or the cache folder.

    Example: text2live weights path
    """
    with reporting(Flags(as_json=as_json, debug=debug)):
        from ..guide.weights import cache_folder, cached

        weights = None if name is None else cached(name)
        if name is not None and weights is None:
            raise Text2LiveError(f"{name} is not here yet: text2live weights fetch {name}")
        path = cache_folder() if weights is None else weights.path
        if as_json:
            _print_file("path", name, path)
        else:
            print_result(visible(str(path)))


@weights_app.command("verify")
def weights_verify(
    name: WeightsName, quiet: Quiet = False, as_json: Json = False, debug: Debug = False
) -> None:
    """Hash the file of NAME and compare it with the SHA-256 of its record.

    Example: text2live weights verify ViT-B-32-quickgelu/openai
    """
    with reporting(Flags(quiet=quiet, as_json=as_json, debug=debug)) as progress:
        from ..guide.weights import verify

        report = verify(name)
        if not report.ok:
            raise Text2LiveError(
                f"{report.path}: SHA-256 is {report.actual}, recorded was {report.published};"
                f" text2live weights fetch {name}"
            )
        if as_json:
            _print_file("verify", name, report.path, sha256=report.actual)
        progress.message(f"{report.path}: as recorded")


def _print_file(command: str, name: str | None, path: Path, **more: str | None) -> None:
    print_json({"command": f"weights {command}", "name": name, "path": str(path), **more})

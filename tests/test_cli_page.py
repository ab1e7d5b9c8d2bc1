"""docs/cli.md is what the code says."""

from __future__ import annotations

import cli_page

from text2live_cli.runs.folder import EDIT_IMAGE, EDIT_VIDEO, FIT_ATLAS, LIFT


def test_the_page_of_all_commands_is_up_to_date() -> None:
    assert cli_page.PAGE.read_text("utf-8") == cli_page.page(), "run python bench/cli_page.py"


def test_every_option_and_command_has_its_words() -> None:
    rows = [line for line in cli_page.page().splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row for row in rows if row.endswith("|  |")] == []
    for name in ("edit-image", "edit-video", "fit-atlas", "composite", "lift", "weights import"):
        assert f"## text2live {name}\n" in cli_page.page()


def test_every_file_of_a_result_is_told() -> None:
    told = {name for names in cli_page.FILES for name in names.split(", ")}
    kinds = (EDIT_IMAGE, EDIT_VIDEO, FIT_ATLAS, LIFT)
    files = {name for kind in kinds for name in kind.files if "/" not in name}
    folders = {f"{name}/" for kind in kinds for name in kind.numbered}
    assert told == files | folders

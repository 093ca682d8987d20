"""The pages that teach by example are run as they stand, from the first block to the last, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.pages import ROOT, Block, blocks, check, is_not_run, run, workplace, write

pytestmark = pytest.mark.slow

PAGES = ("bring-a-task", "write-a-student-kind", "write-an-importer")


@pytest.mark.parametrize("name", PAGES)
def test_the_page_does_what_it_says(name: str, tmp_path: Path) -> None:
    if any(line.startswith("stepdown build") for line in (ROOT / "docs" / f"{name}.md").read_text().splitlines()):
        pytest.importorskip("torch", reason="building needs the extra 'train'")
    folder, environment = workplace(tmp_path)
    printed, ran = "", 0
    for block in blocks(ROOT / "docs" / f"{name}.md"):
        kind, *more = block.said or ("",)
        where = f"{name}.md, line {block.line}"
        if block.path:
            write(block, folder)
        elif kind in ("sh", "python") and not is_not_run(block):
            printed = run(kind, block.body, ROOT if "checkout" in more else folder, environment, where)
            ran += 1
        else:
            check(block, printed, where)
    assert ran >= 2


@pytest.mark.parametrize("said", [(), ("console",), ("sh2",), ("sh", "not", "run:")], ids=" ".join)
def test_a_block_that_nothing_runs_fails_and_says_which(said: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError, match="page, line 7: a block of"):
        check(Block(7, said, "", "ls\n"), "", "page, line 7")

"""SECURITY.md claims nothing that no test shows: each test that it names is there."""
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.split("## From whom")[1].split("\n## ")[0].splitlines() if line.startswith("| ")][1:]
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+)::(\w+)`", TEXT)))


@pytest.mark.parametrize("file, name", NAMED)
def test_what_is_named_is_there(file, name):
    text = (ROOT / file).read_text(encoding="utf-8")
    if file.endswith(".py"):
        assert re.search(rf"^def {name}\(", text, re.MULTILINE)
    else:
        assert f"static void {name}(" in text and re.search(rf"cmocka_unit_test\w*\({name}\b", text)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[2].strip())
def test_each_row_names_a_test(row):
    assert re.search(r"`tests/[\w/.]+::\w+`", row)

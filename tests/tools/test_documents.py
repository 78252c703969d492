"""What the documents and comments name is in the tree, and each counter is explained."""
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).relative_to(ROOT) if pathlib.Path(__file__).is_relative_to(ROOT) else None
LISTED = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
                        check=True).stdout.splitlines()
FILES = [name for name in LISTED if (ROOT / name).is_file() and "/corpus/" not in name and pathlib.Path(name) != HERE]
DOCUMENTS = [name for name in FILES if name.endswith(".md") and not name.startswith("clients/")]
# Somebody else's, by their full name.
NOT_OURS = re.compile(r"https?://\S+|Documentation/\S+")


def text_of(name):
    return NOT_OURS.sub("", (ROOT / name).read_text(encoding="utf-8", errors="replace"))


def exists(name, near):
    """As seen from the root, from the file itself, or from a folder that a room's comments leave out."""
    return any((folder / name).exists() for folder in (ROOT, (ROOT / near).parent, ROOT / "src", ROOT / "docs"))


def test_no_document_is_named_that_is_not_there():
    named = {(word, name) for name in FILES for word in re.findall(r"(?<![\w/.*{}-])[\w/.-]+\.md\b", text_of(name))}
    assert named and [pair for pair in sorted(named) if not exists(*pair)] == []


def test_each_file_that_a_document_names_is_there():
    named = {(word, name) for name in DOCUMENTS
             for word in re.findall(r"`((?:src|tests|scripts|bpf|docs|deploy|clients)/[\w/.-]+)`", text_of(name))}
    assert named and [pair for pair in sorted(named) if not exists(*pair)] == []


def names_of(file, macro):
    lines = (ROOT / file).read_text(encoding="utf-8").split(f"#define {macro}(X)")[1].split("\n\n")[0]
    return [quoted or bare for bare, quoted in re.findall(r'X\((\w+)(?:, "([\w.]+)")?\)', lines)]


@pytest.mark.parametrize("file, macro, prefix, document", [
    ("src/engine/engine.h", "ENGINE_DROPS", "drop.", "docs/uapi.md"), ("src/engine/engine.h", "ENGINE_TALLIES", "", "docs/uapi.md"),
    ("bpf/isolate.h", "ISOLATE_TALLIES", "", "docs/isolation.md")])
def test_each_counter_is_explained(file, macro, prefix, document):
    explained = set(re.findall(r"`([\w.]+)`", (ROOT / document).read_text(encoding="utf-8")))
    names = names_of(file, macro)
    assert names and [name for name in names if prefix + name not in explained] == []

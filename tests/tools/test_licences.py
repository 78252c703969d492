"""docs/licences.md names every library that the built programs are linked to or load, with a licence that lets them."""
import json
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SALLYPORT_BUILD", ROOT / "build")).resolve()
PROGRAMS = {"sallyport-wg": "engine", "sallyportd": "daemon", "sallyport": "cli"}


def rows(heading):
    """The table under a heading, a list of cells per row."""
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


LINKED = rows("What our programs are linked to")
LOADED = rows("What these load in their turn")


def needed(program):
    """The libraries that the program itself names."""
    said = subprocess.run(["readelf", "--dynamic", "--wide", BUILD / "src" / PROGRAMS[program] / program],
                          capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", said))


def is_gpl_only(licence):
    """Of the licences that one may choose from, each is a GPL without an exception for linking."""
    return all(re.match(r"A?GPL", choice) and "Runtime Library Exception" not in choice
               for choice in re.split(r"\s+or\s+", licence, flags=re.IGNORECASE))


def test_gpl_only_is_told_from_what_may_be_linked():
    assert is_gpl_only("GPL-2") and is_gpl_only("GPL-2 or GPL-3+") and is_gpl_only("AGPL-3+")
    assert not is_gpl_only("GPL-2+ or LGPL-3+") and not is_gpl_only("LGPL-2.1") and not is_gpl_only("ISC")
    assert not is_gpl_only("GPL-3+ with GCC Runtime Library Exception")


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_library_of_a_program_has_a_row(program):
    known = {library for row in LINKED if program in quoted(row[3]) for library in quoted(row[0])}
    assert needed(program) and needed(program) - known == set()


@pytest.mark.parametrize("row", [row for row in LINKED if "x86-64" not in row[3] or os.uname().machine == "x86_64"],
                         ids=lambda row: quoted(row[0])[0])
def test_each_row_is_of_a_library_still_linked(row):
    for program in quoted(row[3]):
        assert set(quoted(row[0])) & needed(program), f"{program} is linked to none of them"


def test_each_dependency_of_the_build_is_named():
    """Also those that this machine's build happens not to use."""
    said = subprocess.run(["meson", "introspect", "--scan-dependencies", ROOT / "meson.build"], capture_output=True, text=True,
                          check=True).stdout
    names = {one["name"] for one in json.loads(said)} - {"threads"}  # libc's
    links = subprocess.run(["pkg-config", "--libs-only-l", *sorted(names)], capture_output=True, text=True, check=True).stdout
    known = {library.partition(".so")[0] for row in LINKED for library in quoted(row[0])}
    known |= {"libcurl"}  # the name for development, whichever flavour is behind it
    known |= set(quoted((ROOT / "docs" / "licences.md").read_text(encoding="utf-8").split("## Only to build and to test")[1]))
    linked = {f"lib{word[2:]}" for word in links.split()}
    assert len(linked) >= len(names) and linked - known == set()


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_library_that_is_loaded_has_a_row(program):
    said = subprocess.run(["ldd", BUILD / "src" / PROGRAMS[program] / program], capture_output=True, text=True, check=True).stdout
    loaded = set(re.findall(r"^\s*(?:/\S*/)?(\S+\.so\S*) ", said, flags=re.MULTILINE)) - {"linux-vdso.so.1"}
    known = {library for row in LINKED + LOADED for library in quoted(row[0])}
    assert loaded and loaded - known == set()


@pytest.mark.parametrize("row", LINKED + LOADED, ids=lambda row: quoted(row[0])[0])
def test_no_licence_is_the_gpl_alone(row):
    assert row[2] and not is_gpl_only(row[2])


@pytest.mark.parametrize("row", LINKED, ids=lambda row: quoted(row[0])[0])
def test_the_package_says_so_itself(row):
    files = [pathlib.Path("/usr/share/doc") / package / "copyright" for package in re.split(r",\s*", row[1])]
    present = [file for file in files if file.exists()]
    assert present, f"none of {row[1]} is installed"
    for file in present:
        assert row[2].lower() in " ".join(file.read_text(encoding="utf-8", errors="replace").split()).lower()

"""scripts/check-rooms finds each kind of fault in a small tree made for it, and nothing in a tree without one."""
import json
import pathlib
import re
import subprocess

import pytest

CHECK = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "check-rooms"

# A tree without a fault: a ladder is used downwards, also by a call, and a room uses a room to its left.
CLEAN = {
    "base/clock.h": "int clock_now(void);\n",
    "base/clock.c": '#include "base/clock.h"\nint clock_now(void) { return 1; }\n',
    "engine/engine.h": "struct engine;\n",
    "engine/table/ring.h": '#include "engine/engine.h"\nint ring_put(void);\n',
    "engine/table/ring.c": '#include "engine/table/ring.h"\n#include "base/clock.h"\nint ring_put(void) { return clock_now(); }\n',
    "engine/path/peer.h": "int peer_see(void);\nint peer_count(void);\n",
    "engine/path/peer.c": '#include "engine/path/peer.h"\n#include "engine/table/ring.h"\nint peer_see(void) { return ring_put(); }\n'
                          "int peer_count(void) { return 2; }\n",
    "engine/path/forward.c": '#include "engine/path/peer.h"\nint forward(void);\nint forward(void) { return peer_count(); }\n',
}


class Tree:
    def __init__(self, root):
        self.root = root

    def write(self, files):
        for name, text in files.items():
            path = self.root / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")

    def compile(self):
        """As meson would: objects somewhere, and where in compile_commands.json."""
        build = self.root / "build"
        build.mkdir(exist_ok=True)
        entries = []
        for source in sorted((self.root / "src").rglob("*.c")):
            output = str(source.relative_to(self.root / "src")).replace("/", "_") + ".o"
            subprocess.run(["gcc", "-c", f"-I{self.root}/src", source, "-o", build / output], check=True)
            entries.append({"directory": str(build), "file": str(source), "output": output, "command": "gcc"})
        (build / "compile_commands.json").write_text(json.dumps(entries), encoding="ascii")

    def check(self, *arguments):
        done = subprocess.run([CHECK, "--root", self.root, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == (1 if done.stdout else 0), done.stderr
        return done.stdout

    def check_built(self):
        self.compile()
        return self.check(self.root / "build")


@pytest.fixture
def tree(tmp_path):
    one = Tree(tmp_path)
    one.write(CLEAN)
    return one


def test_clean(tree):
    assert tree.check() == ""
    assert tree.check_built() == ""


def test_room_to_the_right(tree):
    tree.write({"base/clock.h": '#include "engine/engine.h"\n'})
    assert "src/base/clock.h:1: base may not use engine/engine.h" in tree.check()


def test_room_to_the_right_without_an_include(tree):
    tree.write({"base/clock.c": "int peer_count(void);\nint clock_now(void);\nint clock_now(void) { return peer_count(); }\n"})
    assert tree.check() == ""
    assert "base/clock.c needs peer_count of engine/path/peer.c" in tree.check_built()


def test_unknown_room(tree):
    tree.write({"attic/box.c": "int box;\n"})
    assert "'attic' is not a room" in tree.check()


def test_unknown_sub_room(tree):
    tree.write({"engine/attic/box.c": "int box;\n"})
    assert "'attic' is not on the ladder of engine" in tree.check()


def test_unknown_file_in_a_room_of_sub_rooms(tree):
    tree.write({"engine/box.c": "int box;\n"})
    assert "'box' is not on the ladder of engine" in tree.check()


def test_folder_in_a_room_without_sub_rooms(tree):
    tree.write({"base/attic/box.c": "int box;\n"})
    assert "base has no sub-rooms" in tree.check()


def test_up_the_ladder_by_include(tree):
    tree.write({"engine/table/ring.h": '#include "engine/path/peer.h"\nint ring_put(void);\n'})
    assert "engine/table may not use engine/path: src/engine/table/ring.h:1 includes engine/path/peer.h" in tree.check()


def test_up_the_ladder_by_call(tree):
    tree.write({"engine/table/ring.c": "int peer_count(void);\nint ring_put(void);\nint ring_put(void) { return peer_count(); }\n"})
    assert tree.check() == ""
    assert "engine/table may not use engine/path: engine/table/ring.c needs peer_count of engine/path/peer.c" in tree.check_built()


def test_neighbour_on_the_same_rung(tree):
    tree.write({"backend/kernel/kernel.h": "int kernel;\n", "backend/engine/process.c": '#include "backend/kernel/kernel.h"\n'})
    assert "backend/engine may not use backend/kernel" in tree.check()


def test_rung_below_that_is_not_for_all_above(tree):
    tree.write({"backend/isolate/isolate.h": "int isolate;\n", "backend/engine/process.c": '#include "backend/isolate/isolate.h"\n'})
    assert "backend/engine may not use backend/isolate" in tree.check()


def test_circle_of_headers(tree):
    tree.write({"engine/path/peer.h": '#include "engine/path/space.h"\nint peer_see(void);\nint peer_count(void);\n',
                "engine/path/space.h": '#include "engine/path/peer.h"\n'})
    said = tree.check()
    assert "circle: engine/path/peer.h -> engine/path/space.h -> engine/path/peer.h" in said
    assert "src/engine/path/space.h:1 includes engine/path/peer.h" in said


def test_circle_of_calls(tree):
    tree.write({
        "engine/path/peer.c": "int forward(void);\nint peer_see(void);\nint peer_see(void) { return forward(); }\n"
                              "int peer_count(void);\nint peer_count(void) { return 2; }\n"})
    assert tree.check() == ""
    said = tree.check_built()
    assert "circle: engine/path/forward.c -> engine/path/peer.c -> engine/path/forward.c" in said
    assert "engine/path/forward.c needs peer_count of engine/path/peer.c" in said
    assert "engine/path/peer.c needs forward of engine/path/forward.c" in said


def test_circle_by_a_variable_of_three(tree):
    """A table of operations is a use like a call, and the whole way is told."""
    tree.write({
        "base/a.c": "extern int b;\nint a(void);\nint a(void) { return b; }\n",
        "base/b.c": "int c(void);\nint (*b)(void) = c;\n",
        "base/c.c": "int a(void);\nint c(void);\nint c(void) { return a(); }\n"})
    assert "circle: base/a.c -> base/b.c -> base/c.c -> base/a.c" in tree.check_built()


def test_static_functions_of_one_name(tree):
    """What no other object can see connects nobody."""
    same = "static int twice(void) {{ return 2; }}\nint {0}(void);\nint {0}(void) {{ return twice(); }}\n"
    tree.write({f"base/{name}.c": same.format(name) for name in ("one", "two")})
    assert tree.check_built() == ""


def test_library_of_another_sub_room(tree):
    tree.write({"engine/path/forward.c": "#include <liburing.h>\nint forward;\n"})
    assert "src/engine/path/forward.c:1: <liburing.h> belongs to engine/io" in tree.check()


def test_protocol_with_a_clock(tree):
    tree.write({"wire/noise.c": "#include <time.h>\n"})
    assert "wire does no I/O and has no clock" in tree.check()


def test_program_of_the_kernel_with_a_room(tree):
    (tree.root / "bpf").mkdir()
    (tree.root / "bpf" / "one.bpf.c").write_text('#include "engine/engine.h"\n', encoding="ascii")
    assert "bpf/one.bpf.c:1: bpf may not use engine/engine.h" in tree.check()


def test_folder_too_full(tree):
    tree.write({f"base/file{i}.c": "" for i in range(15)})
    assert "src/base: 16 sources in one folder, more than 15" in tree.check()


def test_objects_older_than_their_sources(tree):
    tree.compile()
    source = tree.root / "src" / "base" / "clock.c"
    source.write_text(source.read_text(encoding="ascii") + "int clock_twice;\n", encoding="ascii")
    assert "src/base/clock.c: " in tree.check(tree.root / "build")


def test_build_without_objects(tree):
    assert "no objects there" in tree.check(tree.root / "build")


def test_the_ladders_are_those_of_the_architecture():
    ladders = re.findall(r'^    "(\w+)": "([^"]*>[^"]*)",$', CHECK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    drawn = (CHECK.parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert ladders and [f"    {room:8} {ladder}" for room, ladder in ladders if f"    {room:8} {ladder}\n" not in drawn] == []

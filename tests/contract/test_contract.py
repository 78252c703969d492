"""The OpenAPI document against the tools of those who read it: redocly's linter, openapi-typescript and tsc, and ajv over
what the API suite recorded. The tools come from the lock file here; once installed, nothing leaves this machine."""
import json
import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "src" / "api" / "openapi.json"
QUIET = {
    "REDOCLY_TELEMETRY": "off",
    "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    "NO_UPDATE_NOTIFIER": "1",
    "npm_config_update_notifier": "false",
    "npm_config_fund": "false",
    "npm_config_audit": "false",
    "NO_COLOR": "1",
}


def run(*command):
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=240, check=False,
                          env={**os.environ, **QUIET})


def tool(name, *arguments):
    return run(str(HERE / "node_modules" / ".bin" / name), *arguments)


def node_version():
    try:
        said = run("node", "--version").stdout
    except FileNotFoundError:
        return (0, 0)
    return tuple(int(part) for part in said.strip().lstrip("v").split(".")[:2])


@pytest.fixture(scope="session", autouse=True)
def tools():
    """What the lock file names, installed once for each lock file."""
    if node_version() < (20, 19):
        pytest.skip("needs Node.js 20.19 or newer, with npm")
    stamp, lock = HERE / "node_modules" / ".installed", HERE / "package-lock.json"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    done = run("npm", "ci", "--ignore-scripts")
    assert done.returncode == 0, done.stderr
    stamp.write_text(lock.read_text())


@pytest.fixture(scope="session")
def types():
    folder = HERE / "generated"
    folder.mkdir(exist_ok=True)
    return tool("openapi-typescript", str(DOCUMENT), "--output", str(folder / "api.d.ts"),
                "--default-non-nullable=false")


def test_the_linter_has_nothing_to_say():
    done = tool("redocly", "lint", "--config", "lint.yaml", "--format", "json", str(DOCUMENT))
    found = json.loads(done.stdout)
    assert [f"{each['ruleId']}: {each['message']} {each['location'][0].get('pointer')}" for each in found["problems"]] == []
    assert done.returncode == 0


def test_types_are_generated_without_a_warning(types):
    assert types.returncode == 0, types.stderr
    assert "warn" not in (types.stdout + types.stderr).lower()
    assert types.stderr.strip().count("\n") <= 1, types.stderr


def test_the_types_compile_and_are_what_a_program_needs(types):
    assert types.returncode == 0
    done = tool("tsc", "--project", "tsconfig.json")
    assert done.returncode == 0, done.stdout


def test_every_operation_of_the_document_has_a_type(types):
    text = (HERE / "generated" / "api.d.ts").read_text(encoding="utf-8")
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    for item in document["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict) and "operationId" in operation:
                assert f'operations["{operation["operationId"]}"]' in text


def test_the_lock_file_names_no_registry():
    packages = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_recorded_traffic_conforms():
    traffic = pathlib.Path(os.environ.get("SALLYPORT_TRAFFIC", HERE.parents[1] / "build" / "tests" / "traffic.jsonl"))
    if not traffic.exists():
        pytest.skip(f"nothing is recorded in {traffic}: run the suite api or api-asan first")
    done = run("node", "traffic.mjs", str(DOCUMENT), str(traffic))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["operations"] == found["of"], "the suite did not record every operation"
    assert found["exchanges"] > 500

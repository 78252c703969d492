"""scripts/test counts what its suites leave behind, and takes nothing for passed that was not run."""
import importlib.machinery
import pathlib
import types

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "test"
REPORT = '<testsuites><testsuite>{}</testsuite></testsuites>'
PASSED = '<testcase classname="t" name="one"/>'
FAILED = '<testcase classname="t" name="two"><failure message="no"/></testcase>'
SKIPPED = '<testcase classname="t" name="three"><skipped message="needs root"/></testcase>'


@pytest.fixture
def load(monkeypatch, tmp_path):
    def with_environment(ci):
        monkeypatch.delenv("CI", raising=False) if ci is None else monkeypatch.setenv("CI", ci)
        loader = importlib.machinery.SourceFileLoader("suites", str(SCRIPT))
        module = types.ModuleType("suites")
        module.__file__ = str(SCRIPT)
        exec(compile(loader.get_data(str(SCRIPT)), str(SCRIPT), "exec"), module.__dict__)
        module.REPORTS = tmp_path
        return module

    return with_environment


def tally(module, cases, status=0):
    suite = module.Suite("one")
    suite.log.write_text("", encoding="ascii")
    if cases is not None:
        suite.report.write_text(REPORT.format("".join(cases)), encoding="ascii")
    return suite.tally(status), "\n".join(suite.said)


@pytest.mark.parametrize("ci", [None, "", "false", "0"])
def test_a_skip_counts_neither_way(load, ci):
    counts, said = tally(load(ci), [PASSED, SKIPPED])
    assert counts == (1, 0, 1) and "skipped t three: needs root" in said


@pytest.mark.parametrize("ci", ["true", "1"])
def test_a_skip_is_a_failure_where_nothing_may_be_missing(load, ci):
    counts, said = tally(load(ci), [PASSED, SKIPPED])
    assert counts == (1, 1, 0) and "SKIPPED" in said and "t three: needs root" in said


def test_a_failure_is_named(load):
    counts, said = tally(load(None), [PASSED, FAILED], 1)
    assert counts == (1, 1, 0) and "FAILED t two" in said


def test_a_run_that_failed_without_a_failed_test_is_a_failure(load):
    assert tally(load(None), [PASSED], 1)[0] == (1, 1, 0)


def test_a_run_without_a_report_is_a_failure(load):
    assert tally(load(None), None)[0] == (0, 1, 0)


def test_a_run_of_nothing_is_a_failure(load):
    assert tally(load(None), [])[0] == (0, 1, 0)


def test_each_suite_waits_only_for_suites_that_are_there(load):
    module = load(None)
    assert all(name in module.SUITES and set(others) <= set(module.SUITES) for name, others in module.AFTER.items())

"""The OpenAPI document against the sources that it describes: what no recorded request has touched is held to it, too."""
import json
import pathlib
import re

import pytest

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "src"
API = SOURCES / "api"
DOCUMENT = json.loads((API / "openapi.json").read_text(encoding="utf-8"))
URN = "urn:sallyport:problem:"

# What answers requests. Types that only the start of a program knows are not in the document.
ANSWERING = ["api/**/*.c", "service/**/*.c", "store/store.c", "store/schema.c", "store/transaction.c",
             "backend/host/foreign.c"]
AT_START = {
    "api": {"cannot-listen"},
    "service": {"clock-off", "gateway-name-taken", "no-thread", "pool", "pool-changed", "private-key", "routes", "ula"},
    "store": {"store-url"},
    "backend": set(),
}


def routes():
    """(METHOD, path) -> the rest of the line of the table of routes."""
    text = (API / "noun" / "routes.c").read_text(encoding="utf-8")
    shared = dict(re.findall(r'#define (TENANT|ROUTER) "([^"]+)"', text))
    table = text[text.index("static const struct route rows[]"):text.index("const struct route_table routes")]
    found = {}
    for method, pattern, rest in re.findall(r"\{METHOD_(\w+), ([^,]+), (.*?)\},\n", table, re.S):
        path = "".join(shared.get(part, part.strip('"')) for part in pattern.split())
        found[method, path] = " ".join(rest.split())
    return found


def operations():
    return {(method.upper(), path): {**operation, "parameters": [
        resolve(each) for each in item.get("parameters", []) + operation.get("parameters", [])]}
            for path, item in DOCUMENT["paths"].items() for method, operation in item.items() if method != "parameters"}


def resolve(value):
    if "$ref" not in value:
        return value
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = DOCUMENT[part] if part in DOCUMENT else found[part]
    return found


def tables():
    """The query parameters of each table of fields."""
    found = {}
    for source in API.rglob("*.c"):
        for name, body in re.findall(r"^const struct field (\w+_query)\[\w+\] = \{\n(.*?)^\};", source.read_text(encoding="utf-8"),
                                     re.S | re.M):
            found[name] = re.findall(r'^    \{"(\w+)"', body, re.M)
    return found


ROUTES, OPERATIONS = routes(), operations()


def test_every_route_is_documented_and_no_other():
    assert len(ROUTES) > 25
    assert sorted(ROUTES) == sorted(OPERATIONS)


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_what_a_route_takes_is_documented(route):
    taken, operation = ROUTES[route], OPERATIONS[route]
    query = re.search(r"QUERY\((\w+), (\w+)\)", taken)
    wanted = tables()[query[1]] if query else []
    if query and query[2] == "ROUTER_LIST_OF_TENANT_QUERY_COUNT":
        wanted.remove("tenant_id")  # the last one, which the path has
    assert sorted(wanted) == sorted(each["name"] for each in operation["parameters"] if each["in"] == "query")
    named = [each["name"] for each in operation["parameters"] if each["in"] == "header"]
    assert named == (["Idempotency-Key"] if ".keeps_answer" in taken else [])
    body = {None: None, "REQUIRED": True, "OPTIONAL": False}[(re.search(r"ROUTE_BODY_(\w+)", taken) or [None, None])[1]]
    assert operation.get("requestBody", {}).get("required") is body
    assert ("security" in operation and operation["security"] == []) == ("ROUTE_OPEN" in taken)


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_what_a_route_answers_is_documented(route):
    taken, answers = ROUTES[route], OPERATIONS[route]["responses"]
    statuses = {int(status) for status in answers}
    is_open = "ROUTE_OPEN" in taken
    assert statuses >= {400, 413, 422} | (set() if is_open else {401, 403, 429, 500, 503})
    assert (415 in statuses) == ("ROUTE_BODY" in taken)
    assert 404 in statuses or "{" not in route[1]
    done = [resolve(answer) for status, answer in answers.items() if status < "300"]
    assert len(done) == 1
    headers = set(done[0]["headers"])
    assert {"Age", "Warning"} <= headers if ".may_be_stale" in taken else not {"Age", "Warning"} & headers
    assert ("Idempotency-Replayed" in headers) == (".keeps_answer" in taken)
    for status, answer in answers.items():
        headers = resolve(answer)["headers"]
        assert resolve(headers["X-Request-Id"])["required"]
        assert ("Retry-After" in headers) == (status in ("429", "503"))


def test_every_problem_type_is_documented_and_no_other():
    given = {}
    for pattern in ANSWERING:
        for source in SOURCES.glob(pattern):
            text = source.read_text(encoding="utf-8")
            found = re.findall(r'(?:PROBLEM_[A-Z_]+|refuse(?:_busy)?\([^,;]+(?:,\s*\d+)?),\s*"([a-z0-9-]+)"', text)
            found += [f"{noun}-not-found" for noun in re.findall(r'access_not_found\("(\w+)"', text)]
            room = source.relative_to(SOURCES).parts[0]
            given.update({kind: room for kind in found if kind not in AT_START[room]})
    shared = (SOURCES / "model" / "problem.h").read_text(encoding="utf-8")
    given.update(dict.fromkeys(re.findall(r'#define PROBLEM_\w+ "([a-z-]+)"', shared), "model"))
    given.update(dict.fromkeys(["invalid-utf8", "malformed-json"], "api"))  # one of the two, by a condition
    documented = {kind.removeprefix(URN) for kind in DOCUMENT["components"]["schemas"]["ProblemType"]["enum"]}
    assert {kind: folder for kind, folder in given.items() if kind not in documented} == {}
    assert documented - set(given) == set()


def test_every_kind_of_event_is_documented_and_no_other():
    text = "".join(source.read_text(encoding="utf-8") for source in (SOURCES / "service").rglob("*.c"))
    kinds = set(re.findall(r'"((?:tenant|router|token)\.[a-z]+)"', text))
    assert kinds == set(DOCUMENT["components"]["schemas"]["EventKind"]["enum"])


def test_every_object_of_an_answer_is_closed():
    """So that an answer with a field that is not documented conforms to nothing."""
    open_ones = []

    def look(schema, where):
        if isinstance(schema, list):
            for i, each in enumerate(schema):
                look(each, f"{where}/{i}")
        elif isinstance(schema, dict):
            closed = "additionalProperties" in schema or schema.get("unevaluatedProperties") is False
            if isinstance(schema.get("properties"), dict) and not closed:
                open_ones.append(where)
            for name, member in schema.items():
                if name not in ("example", "examples"):
                    look(member, f"{where}/{name}")

    look(DOCUMENT["components"]["schemas"], "")
    # these two are closed by those that are made of them
    assert open_ones == ["/RouterFields", "/TokenFields"]

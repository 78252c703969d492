"""Holds every request and answer to the OpenAPI document of src/api/openapi.json.

A Contract knows the operations by method and path. answer() fails the test when a status, a header or a field is not
documented or not of its documented form; request() does so for what a test sends, unless it means to be wrong.

With SALLYPORT_TRAFFIC naming a file, exchanges are also recorded there, one JSON object a line, for the suite `contract`.
"""
import collections
import json
import os
import pathlib
import re
import urllib.parse

import jsonschema

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "src" / "api" / "openapi.json"
# Long lists are checked at their ends; their items all come from one function.
LIST_ENDS = 100


# Of the same operation, status and problem so many are recorded; no answer that is larger, and no such request's body.
RECORD_SAME, RECORD_BYTES = 200, 262144


class Undocumented(AssertionError):
    pass


class Recorder:
    def __init__(self, path):
        self._file = open(path, "w", encoding="utf-8") if path else None
        self._counts = collections.Counter()

    def keep(self, operation, exchange, body, content):
        """`exchange` without its bodies, which are bytes (or None)."""
        if self._file is None or len(content or b"") > RECORD_BYTES:
            return
        try:
            kept = body if body and len(body) <= RECORD_BYTES else None
            texts = {"request": kept.decode() if kept else None, "content": (content or b"").decode()}
        except UnicodeDecodeError:
            return
        problem = re.search(r'urn:sallyport:problem:[a-z0-9-]+', texts["content"]) if exchange["status"] >= 400 else None
        kind = (operation, exchange["status"], problem and problem[0])
        self._counts[kind] += 1
        if self._counts[kind] <= RECORD_SAME:
            self._file.write(json.dumps({**exchange, **texts}) + "\n")
            self._file.flush()


RECORDER = Recorder(os.environ.get("SALLYPORT_TRAFFIC"))


def _shorter(value):
    if isinstance(value, dict):
        return {name: _shorter(member) for name, member in value.items()}
    if isinstance(value, list):
        if len(value) > 2 * LIST_ENDS:
            value = value[:LIST_ENDS] + value[-LIST_ENDS:]
        return [_shorter(member) for member in value]
    return value


class Contract:
    def __init__(self, document):
        self.document = document
        self.seen = set()  # (operationId, status)
        self._resolver = jsonschema.RefResolver("", document)
        self._validators = {}
        self._paths = []
        for path, item in document["paths"].items():
            pattern = re.compile("^" + re.sub(r"\\{[^}]*\\}", r"[^/]+", re.escape(path)) + "$")
            self._paths.append((pattern, "{" in path, path, item))
        self._paths.sort(key=lambda entry: entry[1])  # a literal path wins

    def operation(self, method, target):
        """The operation for a request line, or None."""
        path = target.partition("?")[0]
        method = "GET" if method == "HEAD" else method
        for pattern, _, name, item in self._paths:
            if pattern.match(path):
                return self._with_shared(name, item, method)
        return None

    def _with_shared(self, name, item, method):
        operation = item.get(method.lower())
        if operation is None:
            return None
        parameters = [self._resolve(p) for p in item.get("parameters", []) + operation.get("parameters", [])]
        return {**operation, "parameters": parameters, "path": name}

    def _resolve(self, value):
        return self._resolver.resolve(value["$ref"])[1] if "$ref" in value else value

    def _validate(self, schema, value, what):
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = jsonschema.Draft202012Validator(schema, resolver=self._resolver)
        error = jsonschema.exceptions.best_match(self._validators[key].iter_errors(_shorter(value)))
        if error:
            raise Undocumented(f"{what}: at {'/'.join(map(str, error.absolute_path)) or 'the top'}: {error.message[:500]}")

    def request(self, method, target, headers, body):
        operation = self.operation(method, target)
        what = f"request {method} {target[:100]}"
        if operation is None:
            raise Undocumented(f"{what}: there is no such operation")
        known = {p["name"]: p for p in operation["parameters"] if p["in"] == "query"}
        for name, value in urllib.parse.parse_qsl(target.partition("?")[2], keep_blank_values=True):
            if name not in known:
                raise Undocumented(f"{what}: the parameter {name} is not documented")
            schema = known[name]["schema"]
            typed = {"integer": int, "boolean": lambda text: text == "true"}.get(schema.get("type"), str)(value)
            self._validate(schema, typed, f"{what}: {name}")
        documented = operation.get("requestBody")
        if body is not None and not documented:
            raise Undocumented(f"{what}: takes no body")
        if body is None and documented and documented["required"]:
            raise Undocumented(f"{what}: needs a body")
        if body:
            self._validate(documented["content"]["application/json"]["schema"], json.loads(body), what)

    def answer(self, method, target, status, headers, body):
        operation = self.operation(method, target)
        what = f"answer {status} to {method} {target[:100]}"
        if operation is None:
            # what is not documented is answered by these two only
            if status not in (404, 405):
                raise Undocumented(f"{what}: there is no such operation")
            content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
            response = {"content": content}
        else:
            response = operation["responses"].get(str(status))
            # a path whose id is no UUID is no such path
            if response is None and status == 404 and "{" in operation["path"]:
                response = {"$ref": "#/components/responses/NotFound"}
            if response is None:
                raise Undocumented(f"{what}: this status is not documented; body {body[:300]!r}")
            response = self._resolve(response)
            self.seen.add((operation["operationId"], status))
        for header, documented in response.get("headers", {}).items():
            if header not in headers and self._resolve(documented).get("required"):
                raise Undocumented(f"{what}: lacks the header {header}")
        self._content(response, headers, body, method, what)

    def _content(self, response, headers, body, method, what):
        documented = response.get("content")
        if documented is None:
            if body:
                raise Undocumented(f"{what}: has a body")
            return
        media = (headers.get("Content-Type") or "").partition(";")[0]
        if media not in documented:
            raise Undocumented(f"{what}: is {media or 'of no type'}")
        if method == "HEAD":
            return
        if "json" in media:
            value = json.loads(body, object_pairs_hook=_no_duplicates)
            self._validate(documented[media]["schema"], value, what)
            if media == "application/problem+json" and value["status"] != int(what.split()[1]):
                raise Undocumented(f"{what}: its body says {value['status']}")
        else:
            body.decode()


def _no_duplicates(pairs):
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Undocumented(f"a name appears twice in {pairs}")
    return made


CONTRACT = Contract(json.loads(DOCUMENT.read_text(encoding="utf-8")))

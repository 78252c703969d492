"""The API client of these tests: the harness's, with every request and answer held to the contract."""
import http.client
import json
import urllib.parse

from contract import CONTRACT, RECORDER
from harness.api import Api, ApiError

URN = "urn:sallyport:problem:"


class CheckedApi(Api):
    """CheckedApi(socket) or CheckedApi("http://127.0.0.1:8080", token=..., namespace=...)."""

    def __init__(self, where, token=None, timeout=60, namespace=None):
        super().__init__(where, token, timeout)
        self.namespace = namespace
        self._meant = False

    def _connect(self):
        if self.namespace is None or not self.where.startswith("http://"):
            return super()._connect()
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.where).netloc, timeout=self.timeout)
        with self.namespace.inside():
            connection.connect()
        return connection

    def raw(self, method, path, body=None, headers=None):
        target = "/v1" + path
        if not self._meant:
            CONTRACT.request(method, target, headers or {}, body)
        status, answered, content = super().raw(method, path, body, headers)
        operation = CONTRACT.operation(method, target)
        RECORDER.keep(operation and operation["operationId"],
                      {"method": method, "target": target, "status": status, "meant_wrong": self._meant,
                       "headers": {name.lower(): value for name, value in answered.items()}}, body, content)
        CONTRACT.answer(method, target, status, answered, content)
        return status, answered, content

    def raw_unchecked(self, method, path, body=None, headers=None):
        return super().raw(method, path, body, headers)

    def refused(self, status, kind, method, path, body=None, field=None, headers=None):
        """A request that is meant to be wrong: checks status, problem type and field. Returns the problem."""
        self._meant = True
        try:
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            got, _, content = self.raw(method, path, body, headers)
        finally:
            self._meant = False
        problem = json.loads(content)
        said = f"{method} {path[:80]}: {got} {problem}"
        assert got == status, said
        if kind is not None:
            assert problem["type"] == URN + kind, said
        if field is not None:
            assert problem.get("field") == field, said
        assert len(problem["detail"]) > 15, said
        return problem

    def gone(self, path):
        return self.refused(404, None, "GET", path)

    def with_headers(self, method, path, body=None, headers=None):
        """(status, headers, JSON) of an answer, whatever its status."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        status, answered, content = self.raw(method, path, body, headers)
        return status, answered, json.loads(content) if content else None


def problem_kind(error):
    return error.problem["type"].removeprefix(URN)


__all__ = ["ApiError", "CheckedApi", "URN", "problem_kind"]

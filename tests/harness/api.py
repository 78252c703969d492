"""The REST API with the standard library: over the Unix socket, or over TCP with a token. One Api per thread."""
import http.client
import json
import select
import socket
import urllib.parse


class ApiError(Exception):
    """An answer that is not 2xx: .status and .problem (the RFC 9457 object)."""

    def __init__(self, method, path, status, problem):
        detail = problem.get("detail") or problem.get("title") if isinstance(problem, dict) else problem
        super().__init__(f"{method} {path}: {status}: {detail}")
        self.status, self.problem = status, problem


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Api:
    """Api("/run/sallyport/api.sock") or Api("http://127.0.0.1:8080", token="sp_...")."""

    def __init__(self, where, token=None, timeout=60):
        self.where, self.token, self.timeout = str(where), token, timeout
        self._connection = None

    def _connect(self):
        if self.where.startswith("http://"):
            return http.client.HTTPConnection(urllib.parse.urlsplit(self.where).netloc, timeout=self.timeout)
        return _UnixConnection(self.where, self.timeout)

    def raw(self, method, path, body=None, headers=None):
        """(status, headers, bytes). `body` is bytes as they go out. A kept connection that the server has closed
        meanwhile is opened again once, for GET only: anything else may have been done already."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        sent.update(headers or {})
        for attempt in (1, 2):
            if self._connection and select.select([self._connection.sock], [], [], 0)[0]:
                self.close()  # nobody owes us anything: the server has closed it
            kept = self._connection is not None
            self._connection = self._connection or self._connect()
            try:
                self._connection.request(method, "/v1" + path, body=body, headers=sent)
                answer = self._connection.getresponse()
                content = answer.read()
                if answer.will_close:
                    self.close()
                return answer.status, answer.headers, content
            except (OSError, http.client.HTTPException):
                self.close()
                if not (kept and method == "GET" and attempt == 1):
                    raise
        raise AssertionError("unreachable")

    def call(self, method, path, body=None, headers=None):
        """The answer's JSON (text if it is something else, None if empty); ApiError unless 2xx."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        status, answered, content = self.raw(method, path, body, headers)
        if "json" in (answered.get("Content-Type") or ""):
            content = json.loads(content)
        else:
            content = content.decode() or None
        if not 200 <= status < 300:
            raise ApiError(method, path, status, content)
        return content

    def get(self, path, **query):
        return self.call("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def post(self, path, body=None, headers=None):
        return self.call("POST", path, body, headers)

    def patch(self, path, body):
        return self.call("PATCH", path, body)

    def delete(self, path):
        return self.call("DELETE", path)

    def all(self, path, **query):
        """Every item of a list, page by page."""
        cursor = None
        while True:
            page = self.get(path, limit=1000, **query, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                return

    def close(self):
        if self._connection:
            self._connection.close()
            self._connection = None

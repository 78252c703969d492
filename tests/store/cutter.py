"""A relay in front of PostgreSQL's Unix socket that cuts a session at a statement of its choice.

        sallyportd  --- .s.PGSQL.5432 (Cutter) --- .s.PGSQL.5432 (PostgreSQL)

What the client sends is read message by message (PostgreSQL manual, "Message Formats"): a type, a length, a body. From
arm() on, Execute messages are counted in the session that next takes the writers' lock."""
import os
import pathlib
import socket
import struct
import tempfile
import threading
import time

NAME = ".s.PGSQL.5432"


class Session(threading.Thread):
    def __init__(self, cutter, client):
        super().__init__(daemon=True)
        self.cutter, self.client = cutter, client
        self.server = socket.socket(socket.AF_UNIX)
        self.deaf = False  # what the server says no longer reaches the client

    def read(self, size):
        data = b""
        while len(data) < size:
            piece = self.client.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def answers(self):
        try:
            while True:
                data = self.server.recv(65536)
                if not data:
                    break
                if not self.deaf:
                    self.client.sendall(data)
        except OSError:
            pass
        self.cut()

    def cut(self):
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def run(self):
        try:
            self.server.connect(str(self.cutter.behind))
            threading.Thread(target=self.answers, daemon=True).start()
            first = self.read(4)
            self.server.sendall(first + self.read(struct.unpack("!I", first)[0] - 4))
            while True:
                kind = self.read(1)
                length = self.read(4)
                body = self.read(struct.unpack("!I", length)[0] - 4)
                if not self.cutter.look(self, kind, body):
                    break
                self.server.sendall(kind + length + body)
        except (EOFError, OSError):
            pass
        if not self.deaf:
            self.cut()


class Cutter:
    """Cutter(server).url("fleet"); arm(n) cuts at the nth statement of the next write: before the server sees it, or with
    `unheard` after it is done but before anybody hears of it. fired: whether it came to that. While `mute`, new sessions
    are let in, and then nothing more is heard of them."""

    def __init__(self, server):
        self.behind = pathlib.Path(server.socket) / NAME
        self.server = server
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-cutter-"))
        self.lock = threading.Lock()
        self.victim, self.left, self.armed, self.unheard, self.fired = None, 0, False, False, False
        self.mute = False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / NAME))
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            Session(self, client).start()

    def url(self, name):
        return self.server.url(name).replace(str(self.server.socket).replace("/", "%2F"),
                                             str(self.folder).replace("/", "%2F"))

    def arm(self, statement, unheard):
        with self.lock:
            self.victim, self.left, self.armed = None, statement, True
            self.unheard, self.fired = unheard, False

    def look(self, session, kind, body):
        """Whether the message goes on to the server."""
        while self.mute and kind == b"Q":
            time.sleep(0.02)
        with self.lock:
            if self.armed and self.victim is None and kind == b"P" and b"pg_advisory_xact_lock" in body:
                self.victim = session
            if not self.armed or self.victim is not session or kind != b"E":
                return True
            self.left -= 1
            if self.left:
                return True
            self.armed, self.fired = False, True
            session.deaf = self.unheard
        if self.unheard:
            threading.Timer(0.05, session.cut).start()
            return True
        return False

    def close(self):
        self.listener.close()
        for path in (self.folder / NAME, self.folder):
            (os.rmdir if path.is_dir() else os.unlink)(path)

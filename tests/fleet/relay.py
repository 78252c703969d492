"""A Unix socket in front of PostgreSQL's, one a gateway, that can be cut: the way to the database fails for one gateway
and nobody else."""
import contextlib
import pathlib
import select
import socket
import threading


class Relay:
    """Relay(folder, server): its .folder is the `host` of a URL. .cut() closes every connection and takes no new one;
    .silence() lets them stand and passes nothing on, as a firewall that drops; .heal() ends both."""

    def __init__(self, folder, server):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self.target = str(server.socket / ".s.PGSQL.5432")
        self.path = self.folder / ".s.PGSQL.5432"
        self.pairs, self.lock = set(), threading.Lock()
        self.is_cut = self.closed = False
        self.open = threading.Event()
        self.open.set()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.path))
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_cut:
                client.close()
                continue
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        pair = (client, server)
        try:
            server.connect(self.target)
            with self.lock:
                self.pairs.add(pair)
            while not self.closed:
                readable, _, _ = select.select(pair, [], [], 1)
                self.open.wait()
                for sock in readable:
                    data = sock.recv(65536)
                    if not data:
                        return
                    self.open.wait()
                    (server if sock is client else client).sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.pairs.discard(pair)
            for sock in pair:
                sock.close()

    def cut(self):
        self.is_cut = True
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            for sock in pair:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def silence(self):
        self.open.clear()

    def heal(self):
        self.is_cut = False
        self.open.set()

    def close(self):
        self.closed = True
        self.heal()
        self.cut()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.path.unlink(missing_ok=True)

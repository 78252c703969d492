"""Many tenants through the bulk API, and one more at a time, with a clock beside them."""
import base64
import json
import os
import sys
import threading
import time

from .api import Api

PER_REQUEST = 2000


def public_key():
    """32 random bytes with the top bit clear: a point that X25519 takes, whose private half nobody has."""
    key = bytearray(os.urandom(32))
    key[31] &= 0x7F
    return base64.b64encode(key).decode()


def tenants_bodies(count, label, own_keys=True, per_request=PER_REQUEST):
    """Request bodies for `count` tenants with one router each, every second one private."""
    bodies = []
    for first in range(0, count, per_request):
        tenants = []
        for number in range(first, min(first + per_request, count)):
            router = {"name": "router-1"}
            if own_keys:
                router["public_key"] = public_key()
            tenants.append({"name": f"{label} {number:06}", "addressing": "private" if number % 2 else "unique",
                            "routers": [router]})
        bodies.append(json.dumps({"tenants": tenants}).encode())
    return bodies


class Bar:
    """Progress on stderr: a bar that moves on a terminal, a line each 20 % elsewhere."""

    def __init__(self, what, whole):
        self.what, self.whole, self.done, self._told = what, whole, 0, 0
        self._terminal = sys.stderr.isatty()
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def add(self, count):
        with self._lock:
            self.done += count
            rate = self.done / max(time.monotonic() - self._began, 1e-9)
            if self._terminal:
                filled = 30 * self.done // self.whole
                print(f"\r  {self.what} [{'#' * filled}{'.' * (30 - filled)}] {self.done:,} of {self.whole:,}, {rate:,.0f}/s\033[K",
                      end="", file=sys.stderr, flush=True)
            elif self.done * 5 // self.whole > self._told:
                self._told = self.done * 5 // self.whole
                print(f"  {self.what}: {self.done:,} of {self.whole:,}, {rate:,.0f}/s", file=sys.stderr, flush=True)

    def end(self):
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def bulk_create(where, bodies, minimal=True, connections=2, bar=None):
    """Sends bodies over parallel connections. Returns (seconds, [answer items])."""
    pending, items, faults, lock = list(reversed(bodies)), [], [], threading.Lock()

    def work():
        api = Api(where, timeout=120)
        try:
            while not faults:
                with lock:
                    if not pending:
                        return
                    body = pending.pop()
                answer = api.post("/tenants/bulk" + ("?return=minimal" if minimal else ""), body)
                with lock:
                    items.extend(answer["items"])
                if bar:
                    bar.add(len(answer["items"]))
        except BaseException as fault:  # a thread's error must reach the one who waits
            faults.append(fault)
        finally:
            api.close()

    began = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    if bar:
        bar.end()
    if faults:
        raise faults[0]
    failed = [item for item in items if item["status"] != 201]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(items)} were refused, the first: {failed[0]}")
    return seconds, items


def add_each(api, tenant_ids):
    """Adds one router to each tenant, one request at a time. Seconds from request to answer, each; the answer comes when
    the peer is installed."""
    seconds = []
    for tenant_id in tenant_ids:
        body = json.dumps({"name": "added live", "public_key": public_key()}).encode()
        began = time.monotonic()
        api.post(f"/tenants/{tenant_id}/routers", body)
        seconds.append(time.monotonic() - began)
    return seconds


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]

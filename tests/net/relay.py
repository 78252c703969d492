"""A bad network between two WireGuard ends: a UDP proxy that drops, repeats, delays, reorders and loses by order.

    [a] ---- near.  The relay learns a's address from what it says, as a NAT does.  far ---- [b]

Run as a program inside a namespace; the class Relay drives it from a test. Everything random comes from a seeded
generator, so a run can be repeated (but for what the clock decides).

Directions are "out" (a to b) and "back". What may be set, for each direction alike:

    drop, duplicate, reorder    probabilities
    delay                       seconds, for every datagram
    jitter                      seconds: what is reordered waits so long more, at random
    hold_every, hold            each so-manieth data message waits until `hold` further ones have passed it
    hole                        true: nothing gets through
    lose                        {"out": {"2": 1}}: the next so many of that message type are lost
    rebind                      true: the far side speaks from a new port from now on
"""
import heapq
import json
import os
import pathlib
import random
import select
import socket
import sys
import time

SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32
DATA = 4


class Side:
    """The datagrams that come in at one socket, to leave by the other."""

    def __init__(self, name):
        self.name = name
        self.counts = dict.fromkeys(("passed", "dropped", "duplicated", "reordered", "held", "lost"), 0)
        self.held = []  # [how many are still to pass it, datagram]
        self.data = 0


class Proxy:
    def __init__(self, near, far, seed):
        self.dice = random.Random(seed)
        self.target = far
        self.source = None  # of whom we heard last on the near side
        self.policy = {"drop": 0, "duplicate": 0, "reorder": 0, "delay": 0, "jitter": 0, "hold_every": 0, "hold": 0,
                       "hole": False, "lose": {}}
        self.sides = {"out": Side("out"), "back": Side("back")}
        self.near, self.far = self.open(near), self.open(("::" if ":" in far[0] else "0.0.0.0", 0))
        self.later, self.serial = [], 0

    @staticmethod
    def open(address):
        s = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        for option in (SO_RCVBUFFORCE, SO_SNDBUFFORCE):
            s.setsockopt(socket.SOL_SOCKET, option, 32 << 20)
        s.setblocking(False)
        s.bind(address)
        return s

    def set(self, changes):
        if changes.pop("rebind", False):
            self.far.close()
            self.far = self.open(("::" if ":" in self.target[0] else "0.0.0.0", 0))
        self.policy.update(changes)
        return {name: side.counts for name, side in self.sides.items()} | {"port": self.far.getsockname()[1]}

    def send(self, side, datagram):
        try:
            if side.name == "out":
                self.far.sendto(datagram, self.target)
            elif self.source:
                self.near.sendto(datagram, self.source)
        except OSError:
            side.counts["dropped"] += 1  # full: one more loss
            return
        side.counts["passed"] += 1

    def send_later(self, side, datagram, delay):
        self.serial += 1
        heapq.heappush(self.later, (time.monotonic() + delay, self.serial, side, datagram))

    def take(self, side, datagram):
        policy, dice, counts = self.policy, self.dice, side.counts
        lose = policy["lose"].get(side.name, {})
        kind = str(datagram[0])
        if policy["hole"] or dice.random() < policy["drop"]:
            counts["dropped"] += 1
            return
        if lose.get(kind, 0) > 0:
            lose[kind] -= 1
            counts["lost"] += 1
            return
        if policy["hold_every"] and datagram[0] == DATA:
            side.data += 1
            if side.data % policy["hold_every"] == 0:
                counts["held"] += 1
                side.held.append([policy["hold"], datagram])
                return
        if dice.random() < policy["duplicate"]:
            counts["duplicated"] += 1
            self.forward(side, datagram)
        self.forward(side, datagram)
        for waiting in side.held:
            waiting[0] -= 1
        while side.held and side.held[0][0] <= 0:
            self.send(side, side.held.pop(0)[1])

    def forward(self, side, datagram):
        delay = self.policy["delay"]
        if self.dice.random() < self.policy["reorder"]:
            side.counts["reordered"] += 1
            delay += self.dice.random() * self.policy["jitter"]
        if delay:
            self.send_later(side, datagram, delay)
        else:
            self.send(side, datagram)

    def drain(self, s, side):
        for _ in range(256):
            try:
                datagram, source = s.recvfrom(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if side.name == "out":
                self.source = source
            if datagram:
                self.take(side, datagram)

    def run(self, control):
        while True:
            wait = max(0.0, self.later[0][0] - time.monotonic()) if self.later else None
            ready, _, _ = select.select([self.near, self.far, control], [], [], wait)
            if control in ready:
                request, asker = control.recvfrom(65536)
                control.sendto(json.dumps(self.set(json.loads(request))).encode(), asker)
                continue  # the far socket may be another now
            for s, name in ((self.near, "out"), (self.far, "back")):
                if s in ready:
                    self.drain(s, self.sides[name])
            now = time.monotonic()
            while self.later and self.later[0][0] <= now:
                _, _, side, datagram = heapq.heappop(self.later)
                self.send(side, datagram)


class Relay:
    """A proxy that runs in `space` and speaks for `target`: the near end's peer has the endpoint `endpoint`."""

    def __init__(self, world, space, address, target, seed=1):
        self.path = world.folder / f"relay-{len(world.processes)}"
        self.asker = world.folder / f"relay-{len(world.processes)}.asker"
        self.endpoint = (address, 5000)
        space.start(sys.executable, __file__, self.path, json.dumps([self.endpoint, target, seed]))
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.control.bind(str(self.asker))
        self.control.settimeout(20)
        end = time.monotonic() + 20
        while not self.path.exists():
            assert time.monotonic() < end, "the relay does not start"
            time.sleep(0.01)
        self.port = self.set()["port"]

    def set(self, **changes):
        """Changes the policy; what was counted until then, by direction, and the far side's port."""
        self.control.sendto(json.dumps(changes).encode(), str(self.path))
        return json.loads(self.control.recv(65536))

    def counts(self, what):
        """In both directions together."""
        said = self.set()
        return said["out"][what] + said["back"][what]


def main():
    path, options = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
    (near, far, seed) = (tuple(options[0]), tuple(options[1]), options[2])
    proxy = Proxy(near, far, seed)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    control.bind(f"{path}.new")
    os.rename(f"{path}.new", path)  # there once it answers
    proxy.run(control)


if __name__ == "__main__":
    main()

"""RouterOS's scripting language, as much of it as a configuration may use, over a model of a router's menus.

Stricter than RouterOS where that helps: a variable that is not declared, a property that a menu lacks, an escape that is not
documented and a word that would need quotes are errors. Parsing comes first, as there: what cannot be parsed does nothing at all."""
import re
import subprocess

VERBS = {"add", "set", "get", "find", "remove", "disable", "enable"}
MENUS = {
    "/system/resource": {"version"},
    "/interface/wireguard": {"name", "comment", "private-key", "public-key", "mtu", "listen-port"},
    "/interface/wireguard/peers": {"interface", "public-key", "preshared-key", "endpoint-address", "endpoint-port", "comment", "disabled",
                                   "persistent-keepalive", "allowed-address", "current-endpoint-address", "last-handshake"},
    "/ip/address": {"interface", "address", "comment"},
    "/ipv6/address": {"interface", "address", "advertise", "comment"},
    "/ip/route": {"dst-address", "gateway", "comment"},
    "/ipv6/route": {"dst-address", "gateway", "comment"},
    "/system/scheduler": {"name", "interval", "policy", "on-event", "comment"},
    "/ip/service": {"name", "port", "comment"},
}
READ_ONLY = {"public-key": {"/interface/wireguard"}, "current-endpoint-address": set(MENUS), "last-handshake": set(MENUS)}
ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t", "$": "$", "?": "?", "_": " ", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}


class Wrong(Exception):
    """What RouterOS refuses: a syntax error, or a command that fails. `on-error` sees the latter."""


class Broken(BaseException):
    """The terminal went away: nothing runs any more."""


class Time(int):
    pass


class Parser:
    """Makes of a text: a block is a list of statements, a statement (name, positional values, named values)."""

    def __init__(self, text, menus):
        self.text, self.at, self.menus = text, 0, menus

    def fail(self, why):
        line = self.text.count("\n", 0, self.at) + 1
        raise Wrong(f"line {line}: {why}: {self.text[self.at:self.at + 40]!r}")

    def peek(self, size=1):
        return self.text[self.at:self.at + size]

    def blanks(self, lines=False):
        while self.peek() and self.peek() in (" \t\n" if lines else " \t"):
            self.at += 1

    def take(self, text):
        if self.peek(len(text)) != text:
            self.fail(f"expected {text!r}")
        self.at += len(text)

    def match(self, pattern):
        found = re.compile(pattern).match(self.text, self.at)
        if found:
            self.at = found.end()
        return found and found[0]

    def block(self, end):
        statements = []
        while True:
            while self.peek() and self.peek() in " \t\n;":
                self.at += 1
            if self.peek() == end:
                self.at += len(end)
                return statements
            if not self.peek():
                self.fail(f"expected {end!r}")
            statements.append(self.statement())

    def statement(self):
        if self.peek() == "{":
            self.at += 1
            return ("block", self.block("}"))
        return self.command()

    def command(self):
        start = self.at
        name = self.match(r":[a-z]+|/[a-z0-9/-]+")
        if not name:
            self.fail("expected a command")
        if name[0] == "/":
            self.blanks()
            while name.rpartition("/")[2] not in VERBS:  # the older way, by blanks
                word = self.match(r"[a-z0-9-]+") or self.fail("expected a command of a menu")
                name = f"{name}/{word}"
                self.blanks()
            menu, _, verb = name.rpartition("/")
            if menu not in self.menus:
                self.at = start
                self.fail("bad command name")
            if verb == "find":
                return ("find", menu, self.conditions(menu))
        values, named = [], {}
        while True:
            self.blanks()
            if self.peek() in ("", "\n", ";", "}", "]"):
                break
            key = self.match(r"[a-z][a-z0-9-]*(?==)")
            if not key and name == ":do" and self.peek() == "{":
                self.at += 1
                values.append(("block", self.block("}")))
                continue
            if not key:
                values.append(self.value())
                continue
            self.take("=")
            if name[0] == "/" and key not in self.menus[menu]:
                self.fail(f"{menu} has no {key}")
            if key in ("do", "else", "on-error") and name[0] == ":":
                self.take("{")
                named[key] = self.block("}")
            else:
                named[key] = self.value()
        return (name, values, named)

    def conditions(self, menu):
        found = []
        self.blanks()
        if not self.match(r"where(?= )"):
            return found
        while True:
            self.blanks()
            key = self.match(r"[a-z][a-z0-9-]*(?==)")
            if not key or key not in self.menus[menu]:
                self.fail(f"{menu} cannot be searched by this")
            self.take("=")
            found.append((key, self.value()))
            self.blanks()
            if not self.match(r"and(?= )"):
                return found

    def value(self):
        first = self.peek()
        if first == '"':
            return ("text", self.quoted())
        if first == "[":
            self.at += 1
            self.blanks()
            command = self.command()
            self.blanks()
            self.take("]")
            return ("do", command)
        if first == "(":
            self.at += 1
            value = self.expression()
            self.take(")")
            return value
        if first == "{":
            self.at += 1
            items = []
            while self.peek() != "}":
                items.append(self.value())
                if not self.match(";") and self.peek() != "}":
                    self.fail("expected ;")
            self.at += 1
            return ("array", items)
        if first == "$":
            self.at += 1
            return ("variable", self.match(r"[a-zA-Z][a-zA-Z0-9]*") or self.fail("expected a variable"))
        word = self.match(r"[a-zA-Z0-9.,_*+-]+") or self.fail("this needs quotes")
        return ("word", word)

    def quoted(self):
        """Its parts: texts, and variables by their names."""
        self.take('"')
        parts = [""]
        while not self.match('"'):
            if self.match(r"\\"):
                code = self.match(r"[0-9A-F]{2}")
                if code:
                    parts[-1] += chr(int(code, 16))
                else:
                    parts[-1] += ESCAPES.get(self.peek()) or self.fail("no such escape")
                    self.at += 1
            elif self.match(r"\$"):
                parts += [("variable", self.match(r"[a-zA-Z][a-zA-Z0-9]*") or self.fail("$ without a name")), ""]
            elif not self.peek() or self.peek() == "?" or not 32 <= ord(self.peek()) < 127:
                self.fail("this does not stand in quotes as it is")
            else:
                parts[-1] += self.peek()
                self.at += 1
        return parts

    def expression(self):
        self.blanks()
        left = self.value()
        while True:
            self.blanks()
            operator = self.match(r"!=|=|<|>|\.(?= )")
            if not operator:
                return left
            self.blanks()
            left = ("operator", operator, left, self.value())


class Router:
    """A router with its tree. `changes_left` breaks the terminal's line after so many changes."""

    def __init__(self, version="7.13.2 (stable)", ipv6=True):
        self.ipv6, self.changes_left, self.changes, self.said, self.names = ipv6, None, 0, [], {}
        self.menus = {menu: fields for menu, fields in MENUS.items() if not version.startswith("6") or "wireguard" not in menu}
        self.tree = {menu: {} for menu in MENUS}
        self.tree["/system/resource"]["*0"] = {"version": version}
        self.last = 0

    def paste(self, text):
        """As into a terminal: what ends a line outside of brackets runs before the next is read. The errors."""
        errors, rest = [], Parser(text, self.menus)
        while True:
            while rest.peek() and rest.peek() in " \t\n;":
                rest.at += 1
            if not rest.peek():
                return errors
            start = rest.at
            try:
                self.run([rest.statement()], [{}])
            except Wrong as wrong:
                errors.append(str(wrong))
                if rest.at == start or "line " in str(wrong):
                    return errors

    def plain(self):
        """The tree without the numbers of its items."""
        return {menu: sorted((sorted(item.items()) for item in items.values()), key=str) for menu, items in self.tree.items()}

    def run(self, statements, scopes):
        for statement in statements:
            self.execute(statement, scopes)

    def value(self, value, scopes):
        kind = value[0]
        if kind == "text":
            return "".join(part if isinstance(part, str) else str(self.value(part, scopes)) for part in value[1])
        if kind == "word":
            if value[1] in ("true", "false"):
                return value[1] == "true"
            period = re.fullmatch(r"(\d+)([wdhms])", value[1])
            return int(value[1]) if value[1].isdigit() else Time(int(period[1]) * UNITS[period[2]]) if period else value[1]
        if kind == "array":
            return [self.value(item, scopes) for item in value[1]]
        if kind == "variable":
            for scope in reversed(scopes):
                if value[1] in scope:
                    return scope[value[1]]
            raise Wrong(f"${value[1]} is not declared")
        if kind == "do":
            return self.execute(value[1], scopes)
        _, operator, left, right = value
        left, right = self.value(left, scopes), self.value(right, scopes)
        if operator == ".":
            return str(left) + str(right)
        if operator in "<>" and not (isinstance(left, int) and isinstance(right, int)):
            raise Wrong(f"cannot compare {left!r} and {right!r}")
        return {"=": left == right, "!=": left != right, "<": operator == "<" and left < right, ">": operator == ">" and left > right}[operator]

    def execute(self, statement, scopes):
        name = statement[0]
        if name == "block":
            return self.run(statement[1], [*scopes, {}])
        if name == "find":
            return self.find(statement[1], [(key, self.value(value, scopes)) for key, value in statement[2]])
        _, values, named = statement
        if name[0] == "/":
            menu, _, verb = name.rpartition("/")
            return self.menu(menu, verb, values, {key: self.value(value, scopes) for key, value in named.items()}, scopes)
        return getattr(self, "do_" + name[1:], self.unknown)(values, named, scopes)

    def unknown(self, *_):
        raise Wrong("no such command")

    # --- commands ---

    def do_local(self, values, named, scopes):
        scopes[-1][values[0][1]] = self.value(values[1], scopes) if len(values) > 1 else None

    def do_set(self, values, named, scopes):
        for scope in reversed(scopes):
            if values[0][1] in scope:
                scope[values[0][1]] = self.value(values[1], scopes)
                return
        raise Wrong(f"{values[0][1]} is not declared")

    def do_if(self, values, named, scopes):
        holds = self.value(values[0], scopes)
        if not isinstance(holds, bool):
            raise Wrong("conditional not boolean")
        self.run(named["do"] if holds else named.get("else", []), [*scopes, {}])

    def do_foreach(self, values, named, scopes):
        for item in self.value(named["in"], scopes):
            self.run(named["do"], [*scopes, {values[0][1]: item}])

    def do_do(self, values, named, scopes):
        try:
            self.run(values[0][1], [*scopes, {}])
        except Wrong:
            if "on-error" not in named:
                raise
            self.run(named["on-error"], [*scopes, {}])

    def do_put(self, values, named, scopes):
        self.said.append(self.value(values[0], scopes))

    def do_error(self, values, named, scopes):
        raise Wrong(self.value(values[0], scopes))

    def do_len(self, values, named, scopes):
        return len(self.value(values[0], scopes))

    def do_tostr(self, values, named, scopes):
        return str(self.value(values[0], scopes))

    def do_tonum(self, values, named, scopes):
        return int(self.value(values[0], scopes))

    def do_toarray(self, values, named, scopes):
        text = self.value(values[0], scopes)
        return text.split(",") if text else []

    def do_pick(self, values, named, scopes):
        what, start, end = (self.value(value, scopes) for value in values)
        return what[start:end]

    def do_find(self, values, named, scopes):
        where, what = (self.value(value, scopes) for value in values)
        if isinstance(where, list):
            return where.index(what) if what in where else None
        return where.index(what) if what in where else None

    def do_typeof(self, values, named, scopes):
        value = self.value(values[0], scopes)
        return "nil" if value is None else "time" if isinstance(value, Time) else "num" if isinstance(value, int) else \
            "array" if isinstance(value, list) else "str"

    def do_resolve(self, values, named, scopes):
        name = self.value(values[0], scopes)
        if name not in self.names:
            raise Wrong("failure: dns name does not exist")
        return self.names[name]

    # --- menus ---

    def find(self, menu, conditions):
        self.reach(menu)
        return [number for number, item in self.tree[menu].items() if all(item.get(key) == value for key, value in conditions)]

    def reach(self, menu):
        if menu.startswith("/ipv6") and not self.ipv6:
            raise Wrong("IPv6 is disabled")

    def change(self):
        if self.changes_left == 0:
            raise Broken
        self.changes += 1
        self.changes_left = None if self.changes_left is None else self.changes_left - 1

    def check(self, menu, number, item):
        links = {wireguard["name"] for wireguard in self.tree["/interface/wireguard"].values()}
        for key in ("interface", "gateway"):
            if key in item and item[key] not in links:
                raise Wrong(f"input does not match any value of {key}")
        unique = {"/interface/wireguard": ("name",), "/system/scheduler": ("name",), "/interface/wireguard/peers": ("interface", "public-key"),
                  "/ip/address": ("address",), "/ipv6/address": ("address",)}.get(menu, ())
        for other, kept in self.tree[menu].items():
            if unique and other != number and all(kept.get(key) == item.get(key) for key in unique):
                raise Wrong("failure: already have such an item")

    def menu(self, menu, verb, values, given, scopes):
        self.reach(menu)
        for key in given:
            if menu in READ_ONLY.get(key, ()):
                raise Wrong(f"{key} is read only")
        items = self.tree[menu]
        if verb == "add":
            self.change()
            self.last += 1
            item = dict(given)
            if menu == "/interface/wireguard":
                item.setdefault("private-key", subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout.strip())
            self.check(menu, None, item)
            items[f"*{self.last:X}"] = item
            return f"*{self.last:X}"
        if verb == "get":
            numbers, key = ([next(iter(items))], values[0][1]) if len(values) == 1 else (self.numbers(menu, values[0], scopes), values[1][1])
            if len(numbers) != 1:
                raise Wrong("no such item")
            if key not in self.menus[menu]:
                raise Wrong(f"{menu} has no {key}")
            if (menu, key) == ("/interface/wireguard", "public-key"):
                return subprocess.run(["wg", "pubkey"], input=items[numbers[0]]["private-key"], capture_output=True, text=True,
                                      check=True).stdout.strip()
            return items[numbers[0]].get(key)
        for number in self.numbers(menu, values[0], scopes):
            self.change()
            if verb == "remove":
                del items[number]
                continue
            item = {**items[number], **given, **({"disabled": verb == "disable"} if verb in ("disable", "enable") else {})}
            self.check(menu, number, item)
            items[number] = item
        return None

    def numbers(self, menu, value, scopes):
        """Items are named by their numbers, and where they have one, by their name."""
        value = self.value(value, scopes)
        named = {item["name"]: number for number, item in self.tree[menu].items() if "name" in item}
        found = [named.get(one, one) for one in (value if isinstance(value, list) else [value])]
        if any(one not in self.tree[menu] for one in found):
            raise Wrong("no such item")
        return found

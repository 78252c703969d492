"""What every suite of system tests begins with: can it run here, and how it ends when told to."""
import os
import subprocess

import pytest

from .netns import interrupt_once


def missing():
    """Why tests in network namespaces cannot run on this machine, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return None if probe.returncode == 0 else f"no network namespaces: {probe.stderr.strip()}"


def begin():
    """For pytest_configure(): being told to stop must still take the namespaces down."""
    interrupt_once()


def skip_all(items, reason):
    """For pytest_collection_modifyitems(): all of them, if there is a reason."""
    if reason:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


def sanitizers_words(*logs):
    """What AddressSanitizer, LeakSanitizer, UBSan and ThreadSanitizer wrote into these files, each from its first line on."""
    found = []
    for log in logs:
        text = log.read_text(errors="replace") if log.exists() else ""
        at = min((text.find(word) for word in ("Sanitizer", "runtime error:") if word in text), default=-1)
        if at >= 0:
            found.append(f"{log}:\n{text[max(at - 200, 0):][:20000]}")
    return found

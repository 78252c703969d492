"""When the virtual machine hangs, its kernel's words decide whether that says something about what was tested."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kernel"))

from machine import UP, Hang, Machine, MachineError, is_machines_own  # noqa: E402

BOOT = "[    0.000000] Linux version 6.1.0-cloud-amd64\n"
RUNNING = BOOT + UP + "\nvm: alive\n"
STALL = "[  310.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n[  310.2] Call Trace:\n[  310.2]  default_idle+0x5/0x10\n"
LOCKUP = "[  310.1] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [kworker/1:2:77]\n"
OWN = {
    "panic while it boots": BOOT + "[    1.2] Kernel panic - not syncing: Fatal exception\n",
    "fault while it boots": BOOT + "[    1.2] BUG: unable to handle page fault for address: ffff8880\n[    1.2]  kmem_cache_alloc+0x1/0x2\n",
    "stall while idle": RUNNING + STALL,
    "lockup of nothing of ours": RUNNING + LOCKUP + "[  310.2]  smp_call_function_many_cond+0x1/0x2\n",
}
NOT_OWN = {
    "nothing": "",
    "nothing wrong": BOOT,
    "lives": RUNNING,
    "silent": BOOT + UP + "\n",
    "fault later": RUNNING + "[  99.1] BUG: unable to handle page fault for address: ffff8880\n",
    "panic later": RUNNING + "[  99.1] Kernel panic - not syncing: Fatal exception\n",
    "task that waits": RUNNING + "[  240.1] INFO: task sallyportd:81 blocked for more than 120 seconds.\n",
    "stall in a program": RUNNING + STALL + "[  310.3]  bpf_prog_d4a1_from_router+0x1/0x2\n",
    "lockup in WireGuard": RUNNING + LOCKUP + "[  310.2]  wg_packet_decrypt_worker+0x1/0x2 [wireguard]\n",
    "stall after a fault": RUNNING + "[  99.1] Oops: 0000 [#1]\n" + STALL,
    "out of memory": RUNNING + "[  99.1] Out of memory: Killed process 82 (python3)\n",
}


@pytest.mark.parametrize("console", OWN.values(), ids=OWN)
def test_the_emulation_is_blamed_for_its_own(console):
    assert is_machines_own(console)


@pytest.mark.parametrize("console", NOT_OWN.values(), ids=NOT_OWN)
def test_a_hang_that_nobody_explains_is_a_failure(console):
    assert not is_machines_own(console)


@pytest.mark.parametrize("console, kind", [(RUNNING + STALL, MachineError), (RUNNING, Hang)])
def test_a_machine_that_ends_says_whose_fault_it_was(tmp_path, console, kind):
    machine = Machine(tmp_path)
    machine.console.write_text(console, encoding="ascii")
    error = machine._ended("silent for 240 s")
    assert isinstance(error, kind) and "silent for 240 s" in str(error)

"""The parts of engine.py.

    lab.py       namespaces and veths, WireGuard processes of either implementation, the swarm, what /proc tells
    tunnels.py   one tunnel, both ends alike: TCP throughput, CPU, latency; and three ends: site to site
    crowds.py    thousands of routers: small packets, site to site at line rate, loading, memory
    storms.py    handshakes, idling, a restart, a flood
"""

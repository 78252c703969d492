"""What demo, benchmarks and system tests share: network namespaces, a gateway, stock clients, probes, the API.

Standard library only. Everything makes unique names from the process id and takes back what it made in close();
nothing touches an interface, a namespace or a process it did not make. Needs root and Linux.

    netns.py    namespaces joined by a bridge that plays the internet
    gateway.py  sallyportd and its engine in a namespace, with a folder of its own
    client.py   a stock WireGuard client fed with wg-quick text
    probe.py    pings and "who are you" questions between namespaces, once or continuously
    api.py      the REST API over the Unix socket or TCP
    load.py     many tenants through the bulk API, and one more at a time, timed
    stage.py    all of it together: a gateway, three tenants, six routers
"""

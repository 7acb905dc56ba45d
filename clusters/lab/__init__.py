"""The embedded cluster: API server, nodes and network policy on this machine's own kernel.

Start with `supervisor` (processes and namespaces), then `api`, `node` and `policy`.
"""

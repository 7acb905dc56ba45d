"""The embedded lab's node: pods are network namespaces, containers run under bubblewrap, all of it dies with the node.

Start with `kubelet` (one process a node), then `pod` (one pod's life), `containers` (one container's lives) and
`runtime` (bubblewrap).
"""

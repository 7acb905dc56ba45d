"""Calico's own policies: order and actions, who is meant, and how they stand with those of Kubernetes.

What concerns the whole cluster is in `test_global.py` and `test_default_deny.py`, whose tests run alone.
"""

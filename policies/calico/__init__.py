"""Calico's own policies, typed: what was written, how it is read, and what it means.

`model.py` holds the values and `selectors.py` Calico's selector language, which both readings share: the oracle
(`oracle.py`) and the lab's compiler each decide on their own what a policy means.
"""

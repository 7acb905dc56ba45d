"""Two readings of the same manifests, over many random worlds: the oracle of `policies/`, and what a data plane does.

`scene` is a world as manifests, `strategies` makes them up, `calico` with Calico's own policies beside, `kernel` and
`ground` ask the lab's data plane with real packets, `cluster` asks a whole cluster, `agree` holds the answers against
the oracle and finds the smallest world in which they differ. `make agreement` runs it at length; the tests here run a
part of it, and break both sides on purpose.
"""

"""NetworkPolicy and Services on this machine's nftables, one data plane a node.

Read in this order: `snapshot` (what is known) → `compiler` and `services` (what should be in force) → `ruleset` (as a
value) → `transaction` (the difference, as one atomic script) → `engine` (who calls all that, and when).

Denial is silence. Replies of established connections pass, also when a later policy would deny them anew: NetworkPolicy
leaves that to the implementation, and this one, like most, spares what is established. A pod always reaches itself, and
a node always reaches its own pods.
"""

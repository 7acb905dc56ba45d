"""What the Makefile runs: the bootstrap, the lock, the checks of the house, mutants, the fresh-machine proof."""

"""The frame holds: house rules, locks, bootstrap, checks and documentation."""

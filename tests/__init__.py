"""Proves the harness itself."""

"""Proves the harness itself/flows."""

"""Mutual TLS: what servers take, what callers send, whom the server sees."""

"""Proves the whole: the command as a user types it, in a real lab."""

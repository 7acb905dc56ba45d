"""Profiles, providers, the API client and add-ons, tested with an API server and tools that are ours."""

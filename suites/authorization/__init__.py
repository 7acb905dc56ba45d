"""Who may call what, decided by the proxies: identities, requests, tokens, and which policy said so."""

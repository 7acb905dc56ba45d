"""The lab's API server: what kubectl, the official client and the lab's own nodes talk to.

Start with `server` (sockets), then `rest` (one request), `operations` (what a verb does to an object) and `store` (the
log).
"""

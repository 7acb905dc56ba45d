"""The way teams really go: from no mesh to a canary, under running traffic."""

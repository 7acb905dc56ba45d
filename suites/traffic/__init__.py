"""Where requests go: weighted splits, routes by header, path, method and source."""

"""Who gets a proxy, in which form, and every way to miss it."""

"""Service meshes: one interface, one dialect for each mesh behind it."""

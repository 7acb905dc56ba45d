"""What must hold: one folder an area, expectations written by hand."""

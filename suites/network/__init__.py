"""What NetworkPolicy promises, row by row."""

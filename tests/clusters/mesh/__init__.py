"""Tests of the dialects: what they write, read and conclude."""

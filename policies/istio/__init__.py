"""Istio's resources as they were written: typed, and read strictly."""

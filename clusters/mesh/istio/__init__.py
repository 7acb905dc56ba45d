"""Istio's dialect: writes behaviours as Istio's resources, reads its proxies and its control plane."""

"""The lab's mesh: Istio's resources, compiled for real Envoys."""

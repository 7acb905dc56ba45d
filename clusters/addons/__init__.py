"""What a cluster is given besides Kubernetes: Calico."""

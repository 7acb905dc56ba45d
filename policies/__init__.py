"""What these manifests mean: typed policies, read strictly."""

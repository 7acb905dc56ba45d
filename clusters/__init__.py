"""Where it runs: profiles, providers and add-ons."""

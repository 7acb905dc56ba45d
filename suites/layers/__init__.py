"""NetworkPolicy and mesh together: which layer decided, and what each alone keeps closed."""

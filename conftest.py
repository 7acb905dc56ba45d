"""Root hooks only: everything a test needs comes from the plugin."""

pytest_plugins = ["fixtures.plugin"]

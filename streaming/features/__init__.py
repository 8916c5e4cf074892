"""Pure functions from events to model inputs."""

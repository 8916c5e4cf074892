"""The commands of `sightline`, a file a subject. What they do is imported when they run: `--help` must be quick."""

"""Shadow mode: a candidate answers the live stream on a topic of its own, and what it said is held against what went
out (`sightline run --shadow`, `sightline models shadow`)."""

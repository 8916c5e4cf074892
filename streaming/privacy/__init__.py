"""What is known of people's looks, kept so that it can be forgotten.

    day's key of a camera ─► key of a track ─► its look, sealed ─► state, changelog, snapshot

A log keeps what was written to it: old segments, copies and backups hold a look long after its row was deleted. So a
look leaves a process only sealed, and what is deleted is the key. `keyring` is the rule: a key a camera and day, gone
with the camera's retention, from which the key of any one track can be struck out (`punctured`). `folder` keeps the
keys in files outside of Kafka, `keyed` seals with them, and `erasures` are the standing orders to forget a person.

A look whose key is gone is as if it had never been: it opens as no look, is counted, and the flow goes on.
"""

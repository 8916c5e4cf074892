"""The gateway: one process that reads the topics and tells people, by HTTP, server-sent events and WebSocket.

    Kafka ─► reader (a thread a topic) ─► board (in memory, bounded) ─► app ─► pages, overlays, Prometheus

It owns nothing but the plan of the store, which people write through it, and the log of who looked: whatever else it
holds is read back from the topics after a restart, so clients that reconnect with the last id they saw miss nothing and
see nothing twice.
"""

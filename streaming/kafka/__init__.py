"""Kafka: source, transactional sink, topics, dead letters, and the embedded broker."""

"""Alerts of a store, handed on to a webhook: at least once, signed, and dead after so many tries.

store.alerts ─► message (id, body) ─► delivery (sign, POST, retry) ─► offsets
└─► store.alerts.dead-letters
"""

"""The shop in the gateway: its goods, what is offered in a session and why, and what that is worth.

    Kafka ─► catalogue, rows ─► board (in memory, bounded) ─► streams, routes ─► /shop, programs
      ▲                                                            │
      └──────── user.sessions ◄── writing (checked, confirmed) ◄───┘

Whoever knows a session's id may follow what is offered in it: ids are the browser's own, made by chance.
"""

"""The store in the gateway: who is where, what was counted, alerts, the plan, and what cameras show.

    Kafka ─► rows ─► board (in memory, bounded) ─► streams, routes ─► /store, programs

Pictures of cameras are read from Kafka only while somebody looks, leave with heads blurred, and are kept nowhere.
"""

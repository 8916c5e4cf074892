"""Jobs that run by themselves: at times, when enough is new, when the model drifts. Definition, decisions, execution.

    definition  what the settings file says            ─┐
    sensors     ends of topics, alarms                  ├─► decide (pure) ─► book (one file: lease, runs) ─► submitter
    book        runs so far                            ─┘                              a cluster, or this machine

`scheduler` is the loop around them.
"""

"""Who was where in the store: sightings of people become counts, stays, crossings, and alerts.

    person.sightings ─► validate ─► StoreStage* ─► store.metrics          (streaming.pipelines.store_metrics)
    person.sightings ─► validate ─► StoreStage* ─► AlertStage* ─► store.alerts   (streaming.pipelines.store_alerts)

`plan` says what there is to count and by which rules, as data; `geometry`, `stays` and `crossings` are arithmetic on
arrays; `clock`, `memory` and `folding` are event time and keyed state; `figures` and `alerts` make the rows.
"""

"""A made-up store: people who walk a floor plan, cameras that look at them, and the exact truth of both.

    plan ──► walks (visits, positions every 0.1 s) ──► truth (crossings, dwell, waits)
              │
              └─► sightings (boxes and visible shares, a row a person in a frame) ──► detections (what a camera reports)
                   │
                   └─► frames and crops: paper dolls, drawn

Everything is a pure function of its settings and a seed. Only the modules that draw (`dolls`, `crops`, `backdrop`,
`frames`) import OpenCV.
"""

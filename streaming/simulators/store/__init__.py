"""A made-up store: people who walk a floor plan, cameras that look at them, and the exact truth of both.

    plan ──► walks (visits, positions every 0.1 s) ──► truth (crossings, dwell, waits)
              │
              └─► sightings (boxes and visible shares, a row a person in a frame) ──► detections (what a camera reports)
                   │
                   └─► frames and crops: paper dolls, drawn

    made = store(8)
    walks = walk(made.plan, made.traffic, seed=1)
    people, outfits = draw_identities(made.traffic.people, seed=1), draw_outfits(len(walks.visits), seed=1)
    seen = sightings(made.plan, made.cameras, people, walks.positions, fps=5)
    painter = FramePainter(made.plan, made.cameras[0], people, outfits)
    picture = painter.draw(walks.positions.filter(step=600), frame=300)

Everything is a pure function of its settings and a seed. Only the modules that draw (`dolls`, `crops`, `backdrop`,
`frames`) import OpenCV.
"""

"""The way in of pictures: one process a camera, from whatever source to `camera.frames`.

source (video, images, network, smart camera) ─► every frame wanted (`Sampler`), stamped ─► `NewestBuffer`
    ─► JPEG ─► Kafka, one frame at a time: when that is slow the buffer fills, and drops its oldest
"""

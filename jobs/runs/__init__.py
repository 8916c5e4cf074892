"""What every training leaves behind: a folder that says what was asked, where it ran, how it went and how it ended.

    HOME/runs/RUN/run.json                  recipe, data, environment, state, reason, metrics, model: `jobs.runs.record`
    HOME/runs/RUN/curve.jsonl               one line per epoch, as they come
    HOME/runs/RUN/checkpoint.safetensors    where to go on from; gone when the run is done

These are own files, and not MLflow's. A run here is one record of some kilobytes and a line per epoch, read by people,
`jq` and the two commands that draw them; the model store holds lineage, aliases and weights already, so that of a
tracking server only the log would be used. For that MLflow asks for a database with migrations, a web server and
pandas beside what is installed, and for a migration of the database with its new versions. What is lost is its pages:
`sightline runs compare --html` draws the one that is asked for. The files are plain enough to be imported elsewhere.
"""

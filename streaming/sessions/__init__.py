"""What to offer next while somebody clicks: events of sessions become recommendations with their reasons.

    user.sessions ─► validate ─► SessionFold* ─► RecommendStage* ─► session.recommendations
                                                    ▲      ▲
                          item.catalogue ─► Catalogue      Recommend (the model; `streaming.sessions.model`)

`events` and `items` say what can be believed of a record; `folding` is event time and keyed state; `catalogue` is the
index of items and `following` keeps it up with its topic; `rules`, `diversity` and `exploration` are arithmetic on
candidates, by `settings`, and `answers` what leaves. `forgetting` is a user's request. `streaming.experiments` judges
what came of it.
"""

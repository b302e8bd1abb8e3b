"""`sde-ray effects`: what the trials of a sweep show, by design and by option."""

from __future__ import annotations

import typer

from sde_ray.cli.console import emit, out
from sde_ray.cli.options import Json, Sets, SweepOrRun, TrustCode


def effects(sweep: SweepOrRun, sets: Sets = None, trust_code: TrustCode = None, as_json: Json = False) -> None:
    """Rank the designs and say what each option does to the score, with intervals; which models agree on it."""
    from sde_ray.analysis.cross_study import cross_studies
    from sde_ray.cli.views.cross_study import cross_study_view
    from sde_ray.cli.views.study import study_view
    from sde_ray.pipeline.open_run import open_run

    studies = open_run(sweep, sets or []).studies
    comparisons = cross_studies(studies)
    if as_json:
        together = [comparison.to_dict() for comparison in comparisons]
        return emit([each.to_dict() | ({"across": together} if together else {}) for each in studies])
    for each in studies:
        out().print(study_view(each))
    for comparison in comparisons:
        out().print(cross_study_view(comparison))
    return None


def register(app: typer.Typer) -> None:
    app.command()(effects)

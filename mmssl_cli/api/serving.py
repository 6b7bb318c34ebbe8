"""A run over HTTP: recommendations and similar items as JSON, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmssl_cli.api.runs import Run
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

#: Largest number of items that one request may ask for.
MOST = 1000


def make_app(run: Run) -> FastAPI:
    """Return an application for an ASGI server such as uvicorn, with two addresses.

    ``GET /recommend/USER?k=20`` answers ``{"user": id, "items": [{"item": id, "score": number, "title": ...}]}``, the
    user's training items left out; ``GET /similar/ITEM?k=20`` the same with ``item`` in place of ``user``, by the
    cosine of final embeddings, or by the model's own weights between items. Ids are those of the data. An unknown id,
    or a model that has neither, has status 404, a k out of bounds or another parameter 422, each with a sentence in
    ``detail``.

    Raises:
        UsageError: fastapi is not installed.
        InputError: the run or its data set is damaged.
    """
    try:
        from fastapi import Depends, FastAPI, HTTPException, Request
    except ImportError as problem:
        raise UsageError("Serving a run needs fastapi and uvicorn: pip install 'mmssl[serve]'.") from problem
    ranker = run.ranker  # read before the first request
    # Without the pages and the schema that FastAPI serves by default.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def most_of(request: Request) -> int:
        if unknown := [name for name in request.query_params if name != "k"]:
            raise HTTPException(422, f"There is no parameter {unknown[0]!r}; the number of items is k.")
        k = request.query_params.get("k", "20")
        if not k.isdecimal() or len(k) > 9 or not 1 <= int(k) <= MOST:
            raise HTTPException(422, f"k is {k[:20]!r}; expected a whole number from 1 to {MOST}.")
        return min(int(k), len(ranker.item_ids))

    most_of.__annotations__["request"] = Request  # as text FastAPI would look it up in this module

    @app.get("/recommend/{user:path}")
    def recommend(user: str, most: int = Depends(most_of)) -> dict[str, Any]:
        try:
            [answer] = ranker.answers(ranker.rows_of([user]), most)
        except UsageError as problem:
            raise HTTPException(404, str(problem)) from problem
        return answer

    @app.get("/similar/{item:path}")
    def similar(item: str, most: int = Depends(most_of)) -> dict[str, Any]:
        try:
            [row] = ranker.item_rows_of([item])
            found = ranker.named(*ranker.most_similar(row, most))
        except UsageError as problem:
            raise HTTPException(404, str(problem)) from problem
        return {"item": item, "items": found}

    return app

"""Methods and paths, as RFC 9110 says; every route is answered through the index."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import iter_route_contexts

from src.api.dependencies import MODEL_MAP
from src.api.direct import DirectRoute, RouteIndex
from src.api.routes.crud_routes import users_router
from src.main import create_app
from tests.server import serving, settings_for

ROUTES = {
    "/users": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, QUERY",
    "/users/ada": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
    "/events": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, QUERY",
    "/batch": "OPTIONS, POST",
    "/events/-/query": "OPTIONS, POST",
    "/events/-/aggregate": "GET, HEAD, OPTIONS, QUERY",
    "/events/01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
    "/health": "GET, HEAD, OPTIONS",
    "/health/live": "GET, HEAD, OPTIONS",
    "/health/ready": "GET, HEAD, OPTIONS",
}


@pytest.mark.parametrize(("path", "allow"), ROUTES.items())
def test_options_says_what_is_allowed(idle_client: httpx.Client, path: str, allow: str) -> None:
    answer = idle_client.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allow, b"")


@pytest.mark.parametrize(("path", "allow"), ROUTES.items())
def test_other_methods_are_refused(idle_client: httpx.Client, path: str, allow: str) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY", "PROPFIND"} - set(allow.split(", ")):
        refused = idle_client.request(method, path)
        assert (refused.status_code, refused.headers["allow"]) == (405, allow), method
        assert refused.json()["status"] == 405


def test_head_is_get_without_its_body(client: httpx.Client) -> None:
    client.post("/users", json={"user_id": "ada"})
    for path in ("/users", "/users/ada", "/users/nobody", "/users?size=0", "/health"):
        got, head = client.get(path), client.head(path)
        assert head.status_code == got.status_code
        assert head.content == b""
        for name in ("content-type", "content-length", "link"):
            assert (name == "content-length" and got.status_code >= 400) or head.headers.get(name) == got.headers.get(
                name
            )


@pytest.mark.parametrize(
    "path", ["/nothing", "/", "/users/", "/users/ada/", "/users/a/b", "//users", "/Users", "/users/-/", "/users//"]
)
def test_unknown_path_is_not_found(idle_client: httpx.Client, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = idle_client.request(method, path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


def test_every_row_route_is_found_by_the_index() -> None:
    app = create_app(settings_for("sqlite:///unused.db"))
    index = RouteIndex(app.routes)
    routes = [route for route in iter_route_contexts(app.routes) if isinstance(route.original_route, DirectRoute)]
    assert len(routes) == len(MODEL_MAP) * 12 + 5
    for route in routes:
        path = (route.path or "").replace("{", "").replace("}", "")
        resource, key = index.find({"type": "http", "path": path})
        assert resource is not None, path
        assert set(route.methods or ()) <= set(resource.handlers)
        assert bool(key) == ("{" in (route.path or "")), path


def test_index_strips_the_prefix_of_a_proxy() -> None:
    index = RouteIndex(create_app(settings_for("sqlite:///unused.db")).routes)
    resource, key = index.find({"type": "http", "path": "/study/users/ada", "root_path": "/study"})
    assert resource is not None
    assert (resource.template, key) == ("/users/{user_id}", "ada")


async def somebodys_check() -> None:
    """Would be skipped in silence."""


def include_with_dependency(app: FastAPI) -> None:
    app.include_router(users_router, prefix="/v2", dependencies=[Depends(somebodys_check)])


def include_router_with_dependency(app: FastAPI) -> None:
    router = APIRouter(dependencies=[Depends(somebodys_check)])
    router.include_router(users_router, prefix="/v2")
    app.include_router(router)


@pytest.mark.parametrize("include", [include_with_dependency, include_router_with_dependency])
def test_dependencies_that_would_not_run_stop_the_start(include: Callable[[FastAPI], None], tmp_path: Path) -> None:
    app: FastAPI = create_app(settings_for(f"sqlite:///{tmp_path / 'x.db'}"))
    include(app)
    with pytest.raises(TypeError, match="dependencies"):
        RouteIndex(app.routes)
    with pytest.raises((httpx.HTTPError, OSError)), serving(app):
        pytest.fail("it must not serve")


def test_route_that_is_added_by_hand_has_the_same_errors(tmp_path: Path) -> None:
    app: FastAPI = create_app(settings_for(f"sqlite:///{tmp_path / 'x.db'}"))

    @app.get("/me")
    async def me(number: int) -> dict[str, int]:
        return {"number": number}

    with serving(app) as client:
        answer = client.get("/me?number=3")
        assert (answer.status_code, answer.json()) == (200, {"number": 3})
        assert "x-request-id" in answer.headers
        for query in ("number=x", "number=NaN", ""):
            refused = client.get(f"/me?{query}")
            assert refused.status_code == 400
            assert "number" in refused.json()["detail"]
        assert client.post("/me", content=b"x" * 2_000_000).status_code == 413


def test_cors_is_off_unless_origins_are_listed(idle_client: httpx.Client, tmp_path: Path) -> None:
    origin = {"Origin": "https://study.example"}
    assert "access-control-allow-origin" not in idle_client.get("/health", headers=origin).headers

    app = create_app(settings_for(f"sqlite:///{tmp_path / 'x.db'}", cors_origins="https://study.example"))
    with serving(app) as client:
        allowed = client.get("/health", headers=origin)
        assert allowed.headers["access-control-allow-origin"] == "https://study.example"
        assert (
            "access-control-allow-origin" not in client.get("/health", headers={"Origin": "https://x.example"}).headers
        )
        asked = origin | {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
        preflight = client.options("/users/ada", headers=asked)
        assert preflight.status_code == 200
        assert "PUT" in preflight.headers["access-control-allow-methods"]

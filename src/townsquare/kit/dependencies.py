"""What a handler may ask for by name: who asks, the database, the transaction, the service's context.

`viewer` may be nobody, `person` is somebody (else 401), `account` is somebody who signed in directly (a personal token
may not touch the account itself), `write` is the transaction of an unsafe request.
"""

from typing import TypeAlias

from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation
from litestar.types import Scope

from townsquare.kit.calls import call_of
from townsquare.kit.context import Context
from townsquare.kit.database import Database
from townsquare.kit.depends import Depends
from townsquare.kit.identity import Viewer
from townsquare.kit.problems import Problem
from townsquare.kit.writes import Write

MaybeViewer: TypeAlias = NamedDependency[SkipValidation[Viewer | None]]
SignedIn: TypeAlias = NamedDependency[SkipValidation[Viewer]]
Db: TypeAlias = NamedDependency[SkipValidation[Database]]
Transaction: TypeAlias = NamedDependency[SkipValidation[Write]]
Ctx: TypeAlias = NamedDependency[SkipValidation[Context]]
DependsOn: TypeAlias = NamedDependency[SkipValidation[Depends]]


def viewer(scope: Scope) -> Viewer | None:
    """Return who asks, or None."""
    return call_of(scope).viewer


def person(scope: Scope) -> Viewer:
    """Return who asks; raises the 401 problem `unauthenticated`."""
    asking = call_of(scope).viewer
    if asking is None:
        raise Problem("unauthenticated", headers={"WWW-Authenticate": "Bearer"})
    return asking


def account(scope: Scope) -> Viewer:
    """Return who asks, signed in without a personal token; raises `unauthenticated` or `insufficient_scope`."""
    asking = person(scope)
    if not asking.signed_in:
        raise Problem("insufficient_scope", "A personal token cannot do this; sign in.")
    return asking


def write(scope: Scope) -> Write:
    """Return the request's transaction."""
    transaction = call_of(scope).write
    if transaction is None:
        raise RuntimeError("a safe request has no transaction")
    return transaction


def depends(scope: Scope) -> Depends:
    """Return where a handler says what its answer depends on."""
    return call_of(scope).depends


def provided_by(context: Context) -> dict[str, Provide]:
    """Return the dependencies of one service's handlers. Each takes the ASGI scope and waits for nothing."""

    def db(scope: Scope) -> Database:
        return context.database

    def whole(scope: Scope) -> Context:
        return context

    providers = {
        "viewer": viewer,
        "person": person,
        "account": account,
        "write": write,
        "depends": depends,
        "db": db,
        "context": whole,
    }
    return {name: Provide(provider, sync_to_thread=False) for name, provider in providers.items()}

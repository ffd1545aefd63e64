"""Which services this release can serve; a name of the topology that is not here is not built yet."""

from importlib import import_module

from townsquare.kit.app import Definition

BUILT = ("users", "content", "media")


def definition_of(name: str) -> Definition:
    """Return what the service consists of. Imported when asked for: a process pays only for what it serves."""
    if name not in BUILT:
        raise LookupError(f"there is no service {name!r}; there are: {', '.join(BUILT)}")
    definition = import_module(f"townsquare.services.{name}.service").DEFINITION
    assert isinstance(definition, Definition)  # noqa: S101  (says what import_module cannot)
    return definition

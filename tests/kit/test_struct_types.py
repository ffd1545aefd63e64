"""No type of ours meets a fault of msgspec (0.22 and before) that overwrites memory.

Where a string with a pattern and a list, set, tuple or dict stand in one union, msgspec takes the compiled pattern for a
part of the type when the garbage collector looks at it or when the type is freed, and the process crashes now and then. (The
pattern lies between the type's objects and its inner types, and `TypeNode_get_traverse_ranges` does not count it.)
"""

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest
from msgspec import Struct, inspect

import townsquare

CONTAINERS = (
    inspect.ListType,
    inspect.SetType,
    inspect.FrozenSetType,
    inspect.VarTupleType,
    inspect.TupleType,
    inspect.DictType,
    inspect.CollectionType,
)


def structs_of_ours() -> list[type[Struct]]:
    """Import every module, and return every Struct that they define."""
    for module in pkgutil.walk_packages(townsquare.__path__, "townsquare."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    waiting, found = list[type[Struct]](Struct.__subclasses__()), list[type[Struct]]()
    while waiting:
        struct = waiting.pop()
        waiting += struct.__subclasses__()
        found += [struct] if struct.__module__.startswith("townsquare.") else []
    return found


def unions_in(node: object) -> Iterator[inspect.UnionType]:
    """Yield the unions of a type, also those within others; structs within it are looked at by themselves."""
    if isinstance(node, inspect.UnionType):
        yield node
    for name in getattr(node, "__struct_fields__", ()):
        value = getattr(node, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, inspect.Type) and not isinstance(part, inspect.StructType):
                yield from unions_in(part)


def is_deadly(union: inspect.UnionType) -> bool:
    has_pattern = any(isinstance(part, inspect.StrType) and part.pattern for part in union.types)
    return has_pattern and any(isinstance(part, CONTAINERS) for part in union.types)


def deadly_fields(struct: type[Struct]) -> list[str]:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return [field.name for field in info.fields if any(map(is_deadly, unions_in(field.type)))]


def test_no_pattern_stands_beside_a_container_in_one_union():
    structs = structs_of_ours()
    assert len(structs) > 50
    assert {
        f"{struct.__module__}.{struct.__qualname__}": deadly_fields(struct) for struct in structs if deadly_fields(struct)
    } == {}


# A Struct with such a field would bring down this test's process.
WORD = inspect.StrType(pattern="^[a-z]+$")


@pytest.mark.parametrize(
    "beside", [inspect.ListType(WORD), inspect.TupleType((WORD,)), inspect.DictType(WORD, inspect.IntType())]
)
def test_such_a_union_would_be_found(beside: inspect.Type):
    deadly = inspect.UnionType((WORD, beside, inspect.NoneType()))
    harmless = inspect.UnionType((beside, inspect.NoneType()))
    nested = inspect.ListType(inspect.UnionType((inspect.IntType(), inspect.ListType(deadly))))
    assert [any(map(is_deadly, unions_in(node))) for node in (deadly, nested, harmless)] == [True, True, False]

"""What can go wrong, each with how it begins and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from townsquare.cache.simulator.world import POSTS, Machine, World

HOUR: Final = 3600.0
End = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """`begin` has it happen and returns what ends it; it lasts up to `longest` seconds."""

    name: str
    longest: float
    begin: Callable[[World], End]


def _nothing() -> None:
    """What happened in one moment needs no end."""


def _notifications_lost(world: World) -> End:
    return _disturb(world, lambda _, what: what == "notification")


def _messages_lost(world: World) -> End:
    return _disturb(world, lambda _, __: world.random.random() < 0.2)


def _cut_off(world: World) -> End:
    cut = world.random.choice(world.processes)
    return _disturb(world, lambda to, _: to is cut)


def _disturb(world: World, loses: Callable[[Machine, str], bool]) -> End:
    world.disturbances.append(loses)
    return lambda: world.disturbances.remove(loses)


def _network_slow(world: World) -> End:
    return _slow_down(world, lambda _, __: 40.0)


def _slow_down(world: World, slows: Callable[[Machine, str], float]) -> End:
    world.slowdowns.append(slows)
    return lambda: world.slowdowns.remove(slows)


def _freeze(world: World, machine: Machine) -> End:
    machine.frozen = True

    def end() -> None:
        machine.frozen = False
        world.run_processes()

    return end


def _process_frozen(world: World) -> End:
    return _freeze(world, world.random.choice(world.processes))


def _process_killed(world: World) -> End:
    world.restart(world.random.randrange(len(world.processes)))
    return _nothing


def _power_cut(world: World) -> End:
    """All processes start anew, and the shared cache comes back as it was some time ago."""
    copy = world.shared.copy()

    def end() -> None:
        world.shared.restore(copy)
        for number in range(len(world.processes)):
            world.restart(number)

    return end


def _database_frozen(world: World) -> End:
    return _freeze(world, world.database)


def _database_down(world: World) -> End:
    world.database.down = True

    def end() -> None:
        world.database.down = False

    return end


def _database_crashed(world: World) -> End:
    world.crash()
    return _database_down(world)


def _database_restored(world: World) -> End:
    copy = world.database.copy()

    return lambda: world.restore(copy)


def _long_transaction(world: World) -> End:
    if world.database.down:
        return _nothing
    transaction = world.database.changing(world.random.choice(POSTS))
    commits = world.random.random() < 0.7

    def end() -> None:
        if commits and not world.database.down and world.database.runs(transaction):
            world.database.commit(transaction)
        else:
            world.database.roll_back(transaction)

    return end


def _slow_fills(world: World) -> End:
    """Queries whose answers come late: whatever they have read is overtaken meanwhile."""
    chosen = world.random.choice(world.processes)
    return _slow_down(world, lambda to, what: 200.0 if to is chosen and what == "query answered" else 1.0)


def _late_looks(world: World) -> End:
    """Looks that have seen the truth and tell it late."""
    chosen = world.random.choice(world.processes)
    return _slow_down(world, lambda to, what: 300.0 if to is chosen and what == "look answered" else 1.0)


def _shared_down(world: World) -> End:
    world.shared.down = True

    def end() -> None:
        world.shared.down = False

    return end


def _shared_frozen(world: World) -> End:
    return _freeze(world, world.shared)


def _shared_flushed(world: World) -> End:
    world.shared.flush()
    return _nothing


def _shared_restored(world: World) -> End:
    copy = world.shared.copy()
    return lambda: world.shared.restore(copy)


def _shared_foreign(world: World) -> End:
    world.shared.replace_with_foreign()
    return _nothing


def _shared_clock_jumps(world: World) -> End:
    jump = world.random.choice((HOUR, -HOUR))
    world.shared.skew += jump

    def end() -> None:
        world.shared.skew -= jump

    return end


FAULTS: Final = [
    Fault("notifications lost", 5, _notifications_lost),
    Fault("one message in five lost", 5, _messages_lost),
    Fault("network slow", 5, _network_slow),
    Fault("process cut off", 5, _cut_off),
    Fault("process frozen", 30, _process_frozen),
    Fault("process killed", 0, _process_killed),
    Fault("power cut", 8, _power_cut),
    Fault("database frozen", 5, _database_frozen),
    Fault("database down", 5, _database_down),
    Fault("database crashed", 1, _database_crashed),
    Fault("database restored", 10, _database_restored),
    Fault("transaction left open", 60, _long_transaction),
    Fault("fills slower than writes", 5, _slow_fills),
    Fault("looks answered late", 10, _late_looks),
    Fault("shared cache down", 5, _shared_down),
    Fault("shared cache frozen", 5, _shared_frozen),
    Fault("shared cache flushed", 0, _shared_flushed),
    Fault("shared cache restored", 10, _shared_restored),
    Fault("shared cache foreign", 0, _shared_foreign),
    Fault("clock jumps an hour", 10, _shared_clock_jumps),
]

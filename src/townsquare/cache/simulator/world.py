"""The world: one clock, one network, and the machines on it. Nothing waits; whoever drives it says what happens next."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from townsquare.cache.simulator.database import Copy, Database, DatabaseDown
from townsquare.cache.simulator.judge import Judge, Reader
from townsquare.cache.simulator.loops import NEVER
from townsquare.cache.simulator.process import Process
from townsquare.cache.simulator.shared import SharedStore

T = TypeVar("T")

POSTS: Final = ["thing:a", "thing:b", "thing:c"]
READERS: Final = ["ann", "ben"]


class Machine(Protocol):
    """Whatever gets messages. Those to a frozen one wait, those to a dead one are lost."""

    frozen: bool
    dead: bool


@dataclass(eq=False)
class Message:
    """Something under way; `due` is when the network would deliver it."""

    due: float
    number: int
    to: Machine
    what: str
    act: Callable[[], None]


@dataclass(eq=False)
class _Call:
    """A question under way on a connection."""

    caller: Process
    to: Machine
    answered: "asyncio.Future[Any]"
    ended: bool = False

    def unless_ended(self, act: Callable[[], None]) -> None:
        """Do something while the connection stands and somebody waits."""
        if not self.ended and not self.answered.done():
            act()

    def end(self, act: Callable[[], None]) -> None:
        """Answer, unless that has been done."""
        self.unless_ended(act)
        self.ended = True


class World:
    """`processes` caches on one database. By default no message arrives by itself: whoever drives the world delivers it.

    With `following` processes look by themselves, else when they are told to.
    """

    def __init__(
        self,
        processes: int,
        *,
        seed: int = 0,
        delay: Callable[[random.Random], float] = lambda _: NEVER,
        capacity: int = 1 << 20,
        following: bool = False,
    ) -> None:
        self.now = 1000.0
        self.random = random.Random(seed)  # noqa: S311  (to be the same again, not to be secret)
        self.judge = Judge()
        self.readers = [Reader(name) for name in READERS]
        self.pending: list[Message] = []
        self.lost = 0
        self.disturbances: list[Callable[[Machine, str], bool]] = []
        """Each says of a message whether it is lost."""
        self.slowdowns: list[Callable[[Machine, str], float]] = []
        """Each says of a message how many times longer it takes."""
        self.failures: list[BaseException] = []
        """What went wrong inside processes: it is raised to whoever drives the world."""
        self._delay = delay
        self._calls: list[_Call] = []
        self.sent = 0
        """How many messages so far; each has its number."""
        things = [*POSTS, *(f"follows:{name}" for name in READERS)]
        self.database = Database(things, lambda thing, version: self.judge.overwritten(thing, version, self.now))
        self.shared = SharedStore(lambda: self.now)
        self.processes = [
            Process(self, f"process {number}", capacity, following=following) for number in range(1, processes + 1)
        ]
        self.everybody = list(self.processes)
        """Those who were killed included."""

    # --- the network ---------------------------------------------------------------------------------------------

    def send(self, to: Machine, what: str, act: Callable[[], None]) -> None:
        """Send something: `act` is what it does where it arrives."""
        if any(loses(to, what) for loses in self.disturbances):
            self.lost += 1
            return
        delay = self._delay(self.random)
        for slows in self.slowdowns:
            delay *= slows(to, what)
        self.sent += 1
        self.pending.append(Message(self.now + delay, self.sent, to, what, act))

    async def call(self, caller: Process, to: Machine, what: str, serve: Callable[[], T]) -> T:
        """Ask a machine something; waits for ever when the question or the answer is lost."""
        answered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        call = _Call(caller, to, answered)
        self._calls.append(call)

        def arrive() -> None:
            try:
                value = serve()
            except Exception as error:
                self.send(caller, f"{what} failed", partial(call.end, partial(answered.set_exception, error)))
            else:
                self.send(caller, f"{what} answered", partial(call.end, partial(answered.set_result, value)))

        self.send(to, what, partial(call.unless_ended, arrive))
        try:
            return await answered
        finally:
            call.ended = True
            self._calls.remove(call)

    def cut(self, to: Machine, error: Exception) -> None:
        """Cut all connections to a machine: those who wait for its answer know at once, as soon as they run."""
        for call in [call for call in self._calls if call.to is to and not call.ended]:
            call.end(partial(call.answered.set_exception, error))
        for process in self.processes:
            process.cache.distrust()
        self.run_processes()

    def deliver(self, message: Message) -> None:
        """Have a message arrive now."""
        self.pending.remove(message)
        if message.to.dead:
            return
        message.act()
        if isinstance(message.to, Process):
            message.to.loop.run_until_idle()
        self.check()

    def lose(self, message: Message) -> None:
        """Have a message never arrive."""
        self.pending.remove(message)
        self.lost += 1

    def deliverable(self) -> list[Message]:
        """Return the messages that could arrive now, in the order of their sending."""
        return [message for message in self.pending if not message.to.frozen]

    # --- time ----------------------------------------------------------------------------------------------------

    def run_processes(self) -> None:
        """Let everybody who is not frozen do what can be done at this moment."""
        for process in self.processes:
            if not process.frozen:
                process.loop.run_until_idle()
        self.check()

    def check(self) -> None:
        """Raise what went wrong: a wrong read, above all."""
        if self.failures:
            raise self.failures.pop(0)

    def pass_time(self, seconds: float) -> None:
        """Let time pass: timers go off and messages that are due arrive, each at its moment."""
        until = self.now + seconds
        while (moment := self._next_moment()) <= until:
            self.now = max(self.now, moment)
            due = [message for message in self.deliverable() if message.due <= self.now]
            if due:
                self.deliver(min(due, key=lambda message: (message.due, message.number)))
            else:
                self.run_processes()
        self.now = until

    def _next_moment(self) -> float:
        awake = [process.loop.wakes_at for process in self.processes if not process.frozen]
        return min([*awake, *(message.due for message in self.deliverable())], default=NEVER)

    # --- what happens to it --------------------------------------------------------------------------------------

    def crash(self) -> None:
        """The database dies and comes back."""
        self.database.crash()
        self.cut(self.database, DatabaseDown())

    def restore(self, copy: Copy) -> None:
        """An older copy of the database is put in its place."""
        self.database.restore(copy)
        self.judge.restored(self.readers)
        self.cut(self.database, DatabaseDown())

    def restart(self, number: int) -> None:
        """Kill a process, and start another in its place."""
        former = self.processes[number]
        former.kill()
        self.processes[number] = Process(self, former.name, former.capacity, following=former.following)
        self.everybody.append(self.processes[number])
        self.run_processes()

    def close(self) -> None:
        """End everything."""
        for process in self.processes:
            process.kill()
        self.failures.clear()

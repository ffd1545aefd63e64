"""Work that is gathered."""

import asyncio

from townsquare.cache.batches import Batches


class Work:
    """Notes what it was given; goes on when it is told."""

    def __init__(self) -> None:
        self.given: list[list[int]] = []
        self.done: list[int] = []
        self.began = asyncio.Condition()
        self.go_on = asyncio.Event()

    async def __call__(self, items: list[int]) -> None:
        self.given.append(items)
        async with self.began:
            self.began.notify_all()
        await self.go_on.wait()
        self.done += items

    async def until_given(self, count: int) -> None:
        async with asyncio.timeout(5), self.began:
            await self.began.wait_for(lambda: len(self.given) >= count)


async def test_what_comes_in_one_turn_of_the_loop_is_one_batch() -> None:
    work = Work()
    batches = Batches(work, lanes=4, most=10, room=100)
    for number in range(5):
        assert batches.add(number)
    await work.until_given(1)
    assert work.given == [[0, 1, 2, 3, 4]]
    await batches.close(within=0)


async def test_many_items_are_shared_among_the_lanes_and_the_rest_waits_for_one_to_be_free() -> None:
    work = Work()
    batches = Batches(work, lanes=2, most=3, room=100)
    for number in range(8):
        batches.add(number)
    await work.until_given(2)
    assert work.given == [[0, 1, 2], [3, 4, 5]]
    work.go_on.set()
    await work.until_given(3)
    assert work.given[2] == [6, 7]
    await batches.close(within=5)


async def test_one_that_comes_while_a_lane_is_busy_does_not_wait_for_it() -> None:
    work = Work()
    batches = Batches(work, lanes=2, most=3, room=100)
    batches.add(1)
    await work.until_given(1)
    batches.add(2)
    await work.until_given(2)
    assert work.given == [[1], [2]]
    await batches.close(within=0)


async def test_more_than_there_is_room_for_is_not_taken() -> None:
    work = Work()
    batches = Batches(work, lanes=1, most=1, room=2)
    batches.add(1)
    await work.until_given(1)
    assert [batches.add(number) for number in (2, 3, 4)] == [True, True, False]
    await batches.close(within=0)


async def test_closing_lets_what_waits_be_done_in_the_time_it_has() -> None:
    work = Work()
    work.go_on.set()
    batches = Batches(work, lanes=1, most=1, room=10)
    for number in range(5):
        batches.add(number)
    await batches.close(within=5)
    assert work.done == [0, 1, 2, 3, 4]
    assert not batches.add(6)


async def test_closing_ends_what_hangs() -> None:
    work = Work()
    batches = Batches(work, lanes=1, most=1, room=10)
    batches.add(1)
    batches.add(2)
    await work.until_given(1)
    await batches.close(within=0.01)
    work.go_on.set()
    await asyncio.sleep(0)
    assert work.given == [[1]]
    assert work.done == []

"""When the breaker opens, and when it is tried again."""

from townsquare.cache.breaker import Breaker


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock | None = None, **options: float) -> Breaker:
    breaker = Breaker(clock=clock or Clock(), **options)
    fail(breaker)
    assert not breaker.closed
    return breaker


def fail(breaker: Breaker, times: int = 3) -> None:
    for _ in range(times):
        breaker.failed()


def test_it_stays_closed_until_so_many_have_failed() -> None:
    breaker = Breaker(failures=3)
    fail(breaker, 2)
    assert breaker.closed
    breaker.failed()
    assert not breaker.closed
    assert breaker.openings == 1


def test_a_failure_now_and_then_does_not_open_it() -> None:
    breaker = Breaker()
    for _ in range(100):
        breaker.failed()
        for _ in range(9):
            breaker.succeeded()
    assert breaker.closed


def test_it_opens_also_where_only_every_third_call_fails() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.failed()
        breaker.succeeded()
        breaker.succeeded()
    assert not breaker.closed


def test_a_good_trial_closes_it_and_the_failures_are_forgotten() -> None:
    breaker = opened()
    breaker.tried(good=True)
    assert breaker.closed
    fail(breaker, 2)
    assert breaker.closed


def test_the_pauses_double_as_long_as_trials_fail_up_to_the_longest() -> None:
    breaker = opened(first_pause=0.5, longest_pause=3)
    pauses: list[float] = []
    for _ in range(5):
        pauses.append(breaker.pause)
        breaker.tried(good=False)
    assert pauses == [0.5, 1, 2, 3, 3]
    assert not breaker.closed


def test_what_answers_trials_but_fails_in_earnest_is_tried_ever_more_rarely() -> None:
    clock = Clock()
    breaker = opened(clock, first_pause=0.5, longest_pause=10)
    pauses: list[float] = []
    for _ in range(6):
        pauses.append(breaker.pause)
        clock.now += breaker.pause
        breaker.tried(good=True)
        fail(breaker)
    assert pauses == [0.5, 1, 2, 4, 8, 10]


def test_after_a_good_time_the_pause_is_short_again() -> None:
    clock = Clock()
    breaker = opened(clock, first_pause=0.5, longest_pause=10)
    breaker.tried(good=False)
    breaker.tried(good=True)
    clock.now += 11
    fail(breaker)
    assert breaker.pause == 0.5


def test_calls_from_before_it_opened_change_nothing() -> None:
    breaker = opened()
    breaker.succeeded()
    breaker.failed()
    assert not breaker.closed
    assert breaker.openings == 1


def test_whoever_wants_is_told_when_it_opens_and_closes_and_not_of_failed_trials() -> None:
    told: list[bool] = []
    breaker = Breaker(changed=told.append)
    fail(breaker)
    breaker.tried(good=False)
    breaker.tried(good=True)
    assert told == [True, False]

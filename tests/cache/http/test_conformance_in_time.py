"""Both faces of the front as time passes: how connections end, what is counted, and what no answer outlives."""

import time

from testbed.faces import KEEP_ALIVE, Served, get, known

# --- time, and the end -----------------------------------------------------------------------------------------------


def test_an_idle_connection_is_closed(impatient: Served) -> None:
    target, request = known(impatient)
    wire = impatient.wire()
    for asked in (request, get(target, "X: y"), request):  # remembered, read at a glance
        assert wire.ask(asked).by_front
    assert wire.closed()


def test_a_connection_in_use_is_not_closed(impatient: Served) -> None:
    target, request = known(impatient)
    wire = impatient.wire()
    until, number = time.monotonic() + 4 * KEEP_ALIVE, 0
    while time.monotonic() < until:
        number += 1
        assert wire.ask(request).by_front
        assert wire.ask(get(target, f"X-Number: {number}")).by_front
        time.sleep(KEEP_ALIVE / 10)


def test_a_slow_request_right_behind_a_known_one_is_not_cut_off(impatient: Served) -> None:
    _, request = known(impatient)
    wire = impatient.wire()
    wire.send(request + get("/slow/1"))
    assert wire.answer().by_front
    time.sleep(3 * KEEP_ALIVE)
    impatient.within(impatient.origin.go_on.set)
    assert wire.answer().body == b"/slow/1"


def test_at_the_end_idle_connections_close_and_what_is_under_way_is_answered(impatient: Served) -> None:
    _, request = known(impatient)
    idle, busy = impatient.wire(), impatient.wire()
    assert idle.ask(request).by_front
    busy.send(request + get("/slow/1"))
    assert busy.answer().by_front
    assert impatient.origin.waiting.wait(10)
    impatient.server.should_exit = True
    assert idle.closed()
    impatient.within(impatient.origin.go_on.set)
    assert busy.answer().body == b"/slow/1"
    assert busy.closed()


# --- counting, and what ends ----------------------------------------------------------------------------------------


def test_hits_are_counted_by_the_cache_the_metrics_and_the_server(served: Served) -> None:
    target, request = known(served)
    origin, wire = served.origin, served.wire()
    before = origin.counted[0], origin.counted_unchanged[0], origin.cache.statistics.of("KEPT").hit
    for number in range(3):
        wire.ask(request)
        wire.ask(get(target, f"X-Number: {number}"))
        wire.ask(get(target, "If-None-Match: *"))
    after = origin.counted[0], origin.counted_unchanged[0], origin.cache.statistics.of("KEPT").hit
    assert [b - a for a, b in zip(before, after, strict=True)] == [6, 3, 9]


def test_an_answer_ends_with_what_it_was_made_from(served: Served) -> None:
    target, request = known(served)
    wire = served.wire()
    assert wire.ask(request).by_front
    served.within(lambda: served.origin.change(target))
    assert not wire.ask(request).by_front
    assert not wire.ask(get(target, "X: y")).by_front


def test_without_contact_to_the_source_nothing_is_answered_at_once(served: Served) -> None:
    target, request = known(served)
    wire = served.wire()
    try:
        served.within(served.origin.cache.distrust)
        assert not wire.ask(request).by_front
        assert not wire.ask(get(target, "X: y")).by_front
    finally:
        snapshot = served.origin.cache.snapshot
        served.within(lambda: served.origin.cache.looked(snapshot, [], float("inf")))
    assert wire.ask(request).by_front


def test_limits_count_each_hit_and_stand_in_its_answer(counting: tuple[Served, list[str]]) -> None:
    served, counted = counting
    target, request = known(served)
    wire = served.wire()
    counted.clear()
    for asked in (request, request, get(target, "X: y"), get(target, "If-None-Match: *")):
        answer = wire.ask(asked)
        assert answer.by_front
        assert (answer.header("ratelimit"), answer.header("ratelimit-policy")) == ('"read";r=8;t=7', '"read";q=9')
    assert counted == ["127.0.0.1"] * 4


def test_behind_a_proxy_it_is_the_visitor_who_is_counted(counting: tuple[Served, list[str]]) -> None:
    served, counted = counting
    target, _ = known(served)
    counted.clear()
    for visitor in ("1.1.1.1", "2.2.2.2", "1.1.1.1"):
        request = get(target, f"X-Forwarded-For: 6.6.6.6, {visitor}")
        for _ in range(3):  # parsed, seen again, remembered
            assert served.wire().ask(request).by_front
    assert counted == ["1.1.1.1"] * 3 + ["2.2.2.2"] * 3 + ["1.1.1.1"] * 3


def test_who_is_no_proxy_cannot_say_whom_to_count(counting: tuple[Served, list[str]]) -> None:
    served, counted = counting
    target, _ = known(served)
    request = get(target, "X-Forwarded-For: 1.1.1.1")
    served.teach(request)
    served.origin.front.proxies = frozenset()
    counted.clear()
    for _ in range(3):
        assert served.wire().ask(request).by_front
    assert counted == ["127.0.0.1"] * 3


def test_one_too_many_goes_the_whole_way(counting: tuple[Served, list[str]]) -> None:
    served, _ = counting
    target, _ = known(served)
    for _ in range(3):
        assert not served.wire().ask(get(target, "X-Forwarded-For: 9.9.9.9")).by_front
    assert served.origin.asked == [target] * 3

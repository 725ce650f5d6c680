"""What is kept for visitors, and the line before the networks."""

import asyncio
import dataclasses
import threading
import time

import pytest

from emojax.page.visits import Visits
from emojax.page.worker import Worker
from emojax.runtime.errors import UserError


@dataclasses.dataclass
class Thing:
    nbytes: int = 10


def test_the_least_recently_used_is_forgotten_where_memory_ends():
    visits = Visits(memory=30)
    for visitor in ("anna", "ben", "cleo"):
        visits.put(visitor, "edit", Thing())
    visits.get("anna", "edit", Thing)  # used again
    visits.put("dora", "edit", Thing())
    assert not visits.has("ben", "edit")
    assert visits.has("anna", "edit")
    assert visits.nbytes == 30
    with pytest.raises(UserError, match="choose the photograph again"):
        visits.get("ben", "edit", Thing)


def test_a_place_holds_one_thing_and_a_visitor_can_leave():
    visits = Visits(memory=1000)
    for _ in range(5):
        visits.put("anna", "source", Thing())
    visits.put("anna", "target", Thing())
    visits.put("ben", "target", Thing())
    assert len(visits) == 3
    visits.drop("anna", "source")
    assert len(visits) == 2
    visits.drop("anna")
    assert not visits.has("anna", "target")
    assert visits.has("ben", "target")


def test_a_full_line_refuses_and_empties_again():
    worker, gate = Worker(3), threading.Event()

    async def crowd():
        waiting = [asyncio.ensure_future(worker.run(gate.wait)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(UserError, match="3 requests of other visitors are waiting"):
            await worker.run(gate.wait)
        waiting[2].cancel()  # who leaves keeps the place until the turn has come
        await asyncio.sleep(0.05)
        with pytest.raises(UserError, match="are waiting"):
            await worker.run(gate.wait)
        gate.set()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0.05)
        return await worker.run(lambda: "free again")

    assert asyncio.run(crowd()) == "free again"
    worker.stop()


def test_a_film_lets_others_pass_between_its_frames():
    worker, done = Worker(8), []

    def film(name, begun):
        begun.set()
        for frame in range(40):
            worker.give_way()
            done.append((name, frame))
            time.sleep(0.01)

    async def crowd():
        begun = threading.Event()
        films = [asyncio.ensure_future(worker.run_long(film, each, begun)) for each in "ab"]
        await asyncio.to_thread(begun.wait)
        await worker.run(done.append, "moved a slider")
        with pytest.raises(UserError, match="no face"):
            await worker.run(fail)
        await asyncio.gather(*films)
        await worker.run(done.append, "after")

    def fail():
        raise UserError("no face")

    asyncio.run(crowd())
    place = done.index("moved a slider")
    assert place < 20  # in the middle of the first film
    done.remove("moved a slider")
    assert done == [(name, frame) for name in "ab" for frame in range(40)] + ["after"]
    worker.stop()


def test_an_error_of_a_call_comes_back():
    worker = Worker(2)

    def fail():
        raise UserError("no face")

    async def ask():
        with pytest.raises(UserError, match="no face"):
            await worker.run(fail)
        return await worker.run(lambda: 1)

    assert asyncio.run(ask()) == 1
    worker.stop()

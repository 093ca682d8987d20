"""Rungs off the event loop: threads that answer what waits, one input when one waits, many together under load."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

from stepdown.core.calls import masked_input
from stepdown.core.inputs import Input
from stepdown.core.served import INCUMBENT
from stepdown.runtime.cascade import Cascade, Decision

log = logging.getLogger("stepdown.gateway")

MAX_BATCH = 32
MAX_WAITING = 2048
BUSY = Decision(answer=None, confidence=0.0, rung=INCUMBENT)
"""What is decided where too much waits already: the incumbent answers rather than that memory or patience runs out."""


class StudentFailed(Exception):
    """A student raised instead of answering."""


class _Job(NamedTuple):
    cascade: OpenCascade
    input: Input
    insist: bool
    done: asyncio.Future[Decision]


_Answered = tuple[asyncio.Future[Decision], Decision | StudentFailed]


class RungThreads:
    """A few threads that answer for all cascades. Answers return to the event loop that asked."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int = 1) -> None:
        self._loop = loop
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.waiting = 0
        self._threads = [
            threading.Thread(target=self._work, name=f"stepdown-rungs-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, cascade: OpenCascade, input: Input, insist: bool) -> asyncio.Future[Decision]:
        """The decision on one input, when it is made. Called on the event loop."""
        done: asyncio.Future[Decision] = self._loop.create_future()
        if self.waiting >= MAX_WAITING:
            done.set_result(BUSY)
            return done
        self.waiting += 1
        self._jobs.put(_Job(cascade, input, insist, done))
        return done

    def close(self) -> None:
        """End the threads when they have answered what waits."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch = [job]
            try:
                while len(batch) < MAX_BATCH:
                    following = self._jobs.get_nowait()
                    if following is None:
                        self._jobs.put(None)
                        break
                    batch.append(following)
            except queue.Empty:
                pass
            answers = _answer(batch)
            try:
                self._loop.call_soon_threadsafe(self._deliver, answers)
            except RuntimeError:
                return  # The loop has ended: nobody waits any more.

    def _deliver(self, answers: list[_Answered]) -> None:
        self.waiting -= len(answers)
        for done, decision in answers:
            if done.done():
                continue
            if isinstance(decision, StudentFailed):
                done.set_exception(decision)
            else:
                done.set_result(decision)


def _answer(batch: list[_Job]) -> list[_Answered]:
    answers: list[_Answered] = []
    together: dict[int, list[_Job]] = {}
    for job in batch:
        if job.done.cancelled():
            answers.append((job.done, BUSY))
        elif job.insist:
            answers.extend(_guarded([job], job.cascade.insist_many))
        else:
            together.setdefault(id(job.cascade), []).append(job)
    for jobs in together.values():
        answers.extend(_guarded(jobs, jobs[0].cascade.decide_many))
    return answers


def _guarded(jobs: list[_Job], decide: Callable[[list[Input]], list[Decision]]) -> list[_Answered]:
    """What `decide` makes of these inputs. A student that fails is a failure of these jobs, not of the thread."""
    try:
        decisions = decide([job.input for job in jobs])
    except Exception as error:  # the outermost boundary of a thread: the incumbent answers in the student's place
        log.exception("a student failed")
        failure = StudentFailed(type(error).__name__)
        return [(job.done, failure) for job in jobs]
    return [(job.done, decision) for job, decision in zip(jobs, decisions, strict=True)]


class OpenCascade:
    """A cascade with what must happen to an input before its students may see it."""

    def __init__(self, cascade: Cascade, threads: RungThreads, mask: Callable[[str], str] | None = None) -> None:
        self._cascade, self._threads, self._mask = cascade, threads, mask

    def __call__(self, input: Input, insist: bool) -> asyncio.Future[Decision]:
        return self._threads.submit(self, input, insist)

    def decide_many(self, inputs: list[Input]) -> list[Decision]:
        return self._cascade.decide_many(self._shown(inputs))

    def insist_many(self, inputs: list[Input]) -> list[Decision]:
        return [self._cascade.insist(input) for input in self._shown(inputs)]

    def _shown(self, inputs: list[Input]) -> list[Input]:
        return [masked_input(input, self._mask) for input in inputs] if self._mask else inputs

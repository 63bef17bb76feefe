# SPDX-License-Identifier: Apache-2.0
"""What a client may expect of its VM, whatever happened to hearthd, keepers and VMMs meanwhile.

One client has each VM, so that what it was answered tells where the VM is; where it was not
answered, the VM is in one of several states until it is looked at.
"""

import dataclasses

from harness import Code, V

ABSENT = 0
CREATED, RUNNING, PAUSED = V.VM_STATE_CREATED, V.VM_STATE_RUNNING, V.VM_STATE_PAUSED
STOPPED, FAILED = V.VM_STATE_STOPPED, V.VM_STATE_FAILED

# Where each verb leads from each state it fits, and where it leaves alone.
VERBS = {
    "create": {ABSENT: RUNNING},
    "start": {CREATED: RUNNING, STOPPED: RUNNING, FAILED: RUNNING, RUNNING: RUNNING},
    "pause": {RUNNING: PAUSED, PAUSED: PAUSED},
    "resume": {PAUSED: RUNNING, RUNNING: RUNNING},
    "stop": {RUNNING: STOPPED, PAUSED: STOPPED, CREATED: CREATED, STOPPED: STOPPED,
             FAILED: STOPPED},
    "destroy": {state: ABSENT for state in (ABSENT, CREATED, RUNNING, PAUSED, STOPPED, FAILED)},
}
# How long a call that nobody answered may still have its effect: while its agent was not seen dead.
UNANSWERED = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED)


class Violation(AssertionError):
    """hearth did what no client could expect."""


@dataclasses.dataclass
class Expected:
    """Of one VM: the states it may be in, and how it is recognised."""

    states: frozenset = frozenset((ABSENT,))
    settled: bool = True  # nothing is under way that nobody was answered for
    uid: str = ""
    labels: dict = dataclasses.field(default_factory=dict)
    labels_in_doubt: bool = False

    def before(self, verb):
        """Of the states it may be in, those that the verb fits."""
        return [state for state in self.states if state in VERBS[verb]]

    def done(self, verb):
        fits = self.before(verb)
        if not fits:
            raise Violation("%s succeeded in %s" % (verb, sorted(self.states)))
        self.states = frozenset(VERBS[verb][state] for state in fits)
        self.settled = True

    def refused(self, verb):
        """It does not fit, nor what is under way."""
        if self.settled and len(self.states) == 1 and self.before(verb):
            raise Violation("%s was refused in %s" % (verb, sorted(self.states)))

    def found(self, there):
        """Or not; one that is there may be about to be destroyed."""
        if there and not self.settled and self.states != {ABSENT}:
            return
        states = self.states - {ABSENT} if there else self.states & {ABSENT}
        if not states:
            raise Violation("is %s, not in %s" % ("there" if there else "absent",
                                                  sorted(self.states)))
        self.states = states

    def in_doubt(self, verb):
        """Nobody answered: it may have happened, or happen yet."""
        self.states |= {VERBS[verb][state] for state in self.before(verb)}
        self.settled = False

    def lost_vmm(self):
        """Something else has ended its VMM, or may have."""
        if self.states & {RUNNING, PAUSED}:
            self.states |= {FAILED}
            self.settled = False

    def seen(self, state):
        """At rest, with nothing under way."""
        if state not in self.states:
            raise Violation("is in %d, not one of %s" % (state, sorted(self.states)))
        self.states = frozenset((state,))
        self.settled = True

# SPDX-License-Identifier: Apache-2.0
"""The host's clock is put back and forward while hearthd serves (libfaketime, for hearthd alone)."""

import glob
import time
import unittest

import grpc

from google.protobuf import timestamp_pb2

from harness import Code, Failure, Hearthd, V

FAKETIME = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)
DAY = 86400


@unittest.skipUnless(FAKETIME, "libfaketime is not installed")
class ClockTest(unittest.TestCase):
    def setUp(self):
        self.daemon = Hearthd()
        self.addCleanup(self.daemon.close)
        self.clock = self.daemon.folder / "clock"
        self.put_clock(0)
        self.daemon.prefix = ["env", "LD_PRELOAD=%s" % FAKETIME,
                              "FAKETIME_TIMESTAMP_FILE=%s" % self.clock, "FAKETIME_NO_CACHE=1",
                              "FAKETIME_DONT_FAKE_MONOTONIC=1"]
        self.daemon.start()
        self.vms = self.daemon.vms

    def put_clock(self, seconds):
        aside = self.clock.with_suffix(".new")
        aside.write_text("%+d" % seconds)
        aside.rename(self.clock)

    def create(self, vm_id, uid="", **spec):
        return self.daemon.vms.CreateVm(V.CreateVmRequest(vm_id=vm_id, uid=uid,
                                                          spec=V.VmSpec(**spec)), timeout=20)

    def get(self, vm_id):
        return self.daemon.vms.GetVm(V.GetVmRequest(vm_id=vm_id), timeout=20)

    def ends_no_earlier_than_it_began(self, operation):
        self.assertLessEqual(operation.start_time.ToNanoseconds(),
                             operation.end_time.ToNanoseconds(), operation)
        for step in operation.steps:
            self.assertLessEqual(step.start_time.ToNanoseconds(), step.end_time.ToNanoseconds())

    def test_the_clock_is_really_faked(self):
        self.put_clock(-DAY)

        vm = self.create("old")

        self.assertLess(vm.create_time.seconds, time.time() - DAY / 2)

    def test_verbs_work_and_last_no_negative_time_whichever_way_it_steps(self):
        for i, seconds in enumerate((-DAY, 2 * DAY, -30 * DAY, 0)):
            vm_id = "vm-%d" % i
            self.create(vm_id, desired_state=V.DESIRED_STATE_RUNNING)
            self.put_clock(seconds)
            for call, request in ((self.vms.PauseVm, V.PauseVmRequest),
                                  (self.vms.ResumeVm, V.ResumeVmRequest),
                                  (self.vms.StopVm, V.StopVmRequest),
                                  (self.vms.StartVm, V.StartVmRequest)):
                vm = call(request(vm_id=vm_id), timeout=20)
                self.ends_no_earlier_than_it_began(vm.status.last_operation)

    def test_events_keep_their_order(self):
        self.create("vm", desired_state=V.DESIRED_STATE_RUNNING)
        self.put_clock(-DAY)
        self.vms.StopVm(V.StopVmRequest(vm_id="vm"), timeout=20)

        events = self.vms.ListVmEvents(V.ListVmEventsRequest(vm_id="vm"), timeout=20).events

        revisions = [event.revision for event in events]
        self.assertEqual(sorted(revisions), revisions)
        self.assertEqual("Stopped", events[-1].reason)

    def test_a_uid_is_remembered_though_the_clock_is_put_back(self):
        self.create("vm", uid="used")
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id="vm"), timeout=20)
        self.put_clock(-DAY)
        for _ in range(2):
            with self.assertRaises(grpc.RpcError) as caught:
                self.create("vm", uid="used")
            self.assertEqual(Code.ABORTED, caught.exception.code(), Failure(caught.exception))
            self.daemon.restart()

    def test_what_expires_later_is_not_destroyed_early_by_a_step_back(self):
        self.put_clock(-DAY)
        at = timestamp_pb2.Timestamp(seconds=int(time.time()) - DAY + 3600)
        self.create("vm", expires_at=at, expire_action=V.EXPIRE_ACTION_DESTROY)
        self.put_clock(-2 * DAY)
        self.daemon.restart()

        self.assertEqual(V.VM_STATE_CREATED, self.get("vm").status.state)

    def test_an_agent_that_starts_before_its_own_past_serves_all_there_is(self):
        self.create("vm", desired_state=V.DESIRED_STATE_RUNNING)
        leftover = self.daemon.state / "vms" / ("0" * 16)
        leftover.mkdir()
        self.daemon.kill()
        self.put_clock(-30 * DAY)

        self.daemon.start()

        self.assertEqual(V.VM_STATE_RUNNING, self.get("vm").status.state)
        self.vms = self.daemon.vms
        self.create("another", desired_state=V.DESIRED_STATE_RUNNING)
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id="vm"), timeout=20)
        self.wait_gone(leftover)

    def wait_gone(self, path):
        end = time.monotonic() + 30
        while path.exists():
            self.assertLess(time.monotonic(), end, "%s is never swept" % path)
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()

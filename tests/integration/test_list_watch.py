# SPDX-License-Identifier: Apache-2.0
"""Listing by pages and watching by revision."""

import itertools

import grpc

from harness import Code, DaemonTest, Hearthd, V, wait_until

TERMINAL = V.EVENT_TYPE_DELETED


class Watcher:
    """Reads a watch; each take() is bounded by the call's deadline."""

    def __init__(self, vms, timeout=30, **fields):
        self.call = vms.WatchVms(V.WatchVmsRequest(**fields), timeout=timeout)
        self.store_id = ""
        self.revision = 0
        self.initial_done = False

    def messages(self):
        for message in self.call:
            self.store_id = message.store_id
            self.revision = message.revision
            self.initial_done |= message.initial_done
            yield message

    def events(self):
        for message in self.messages():
            yield from message.events

    def until(self, condition):
        """The events up to and with the first for which condition() is true."""
        taken = []
        for event in self.events():
            taken.append(event)
            if condition(event):
                return taken
        raise AssertionError("the watch ended")

    def initial(self):
        taken = []
        for message in self.messages():
            taken += message.events
            if message.initial_done:
                return taken
        raise AssertionError("the watch ended")

    def cancel(self):
        self.call.cancel()


class Listing(DaemonTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for i in range(25):
            cls.daemon.vms.CreateVm(V.CreateVmRequest(
                vm_id="list-%02d" % i, tenant="even" if i % 2 == 0 else "odd",
                spec=V.VmSpec(labels={"n": str(i), **({"ten": "yes"} if i >= 10 else {})},
                              desired_state=V.DESIRED_STATE_RUNNING if i < 5 else 0)),
                timeout=20)

    def list(self, **fields):
        return self.vms.ListVms(V.ListVmsRequest(**fields), timeout=20)

    def ids(self, **fields):
        return [vm.vm_id for vm in self.list(**fields).vms]

    def test_pages_hold_every_vm_once_in_order_and_share_a_revision(self):
        pages = [self.list(page_size=10)]
        while pages[-1].next_page_token:
            pages.append(self.list(page_size=10, page_token=pages[-1].next_page_token))

        ids = [vm.vm_id for page in pages for vm in page.vms]
        self.assertEqual(["list-%02d" % i for i in range(25)], ids)
        self.assertEqual([10, 10, 5], [len(page.vms) for page in pages])
        self.assertEqual(1, len({page.revision for page in pages}))
        self.assertEqual(1, len({page.store_id for page in pages}))

    def test_the_first_pages_revision_holds_although_vms_change_between_pages(self):
        first = self.list(page_size=10)
        self.vms.UpdateVm(self.relabel("list-24"), timeout=20)

        second = self.list(page_size=10, page_token=first.next_page_token)

        self.assertEqual(first.revision, second.revision)

    def relabel(self, vm_id):
        request = V.UpdateVmRequest(vm_id=vm_id)
        request.spec.labels.update({"n": "24", "ten": "yes"})
        request.update_mask.paths.append("labels")
        return request

    def test_selectors_choose_as_in_kubernetes(self):
        everything = set(range(25))
        for selector, wanted in (
                ("n=3", {3}), ("n==3", {3}), ("n!=3", everything - {3}),
                ("n in (3,4),ten", set()), ("n in (3, 12),ten", {12}),
                ("n notin (0,1)", everything - {0, 1}), ("!ten", set(range(10))),
                ("ten,n!=10", set(range(11, 25))), ("ten=yes,n in (24)", {24})):
            with self.subTest(selector):
                found = self.ids(label_selector=selector)
                self.assertEqual(["list-%02d" % i for i in sorted(wanted)], found)

    def test_a_selector_that_is_none_is_refused(self):
        for selector in ("a=b=c", "in (", "a in b", ",", "n=,,", "=x", "a" * 1025,
                         ",".join("a%d" % i for i in range(33))):
            with self.subTest(selector[:20]):
                failure = self.refused(self.vms.ListVms, V.ListVmsRequest(label_selector=selector),
                                       Code.INVALID_ARGUMENT, "INVALID_REQUEST")
                self.assertIn("label_selector", failure.violations)

    def test_tenants_and_states_choose_too(self):
        self.assertEqual(13, len(self.ids(tenant="even")))
        self.assertEqual(["list-%02d" % i for i in range(5)],
                         self.ids(states=[V.VM_STATE_RUNNING]))
        self.assertEqual(25, len(self.ids(states=[V.VM_STATE_RUNNING, V.VM_STATE_CREATED])))

    def test_a_page_token_belongs_to_its_list(self):
        token = self.list(page_size=10).next_page_token

        for fields in ({"page_token": token, "tenant": "even"},
                       {"page_token": token, "label_selector": "ten"},
                       {"page_token": token, "states": [V.VM_STATE_RUNNING]},
                       {"page_token": "nonsense"}, {"page_token": token[:-1]}):
            with self.subTest(fields):
                self.refused(self.vms.ListVms, V.ListVmsRequest(**fields), Code.OUT_OF_RANGE,
                             "PAGE_TOKEN")

    def test_a_page_size_out_of_range_is_refused(self):
        for size in (1001, 2**32 - 1):
            failure = self.refused(self.vms.ListVms, V.ListVmsRequest(page_size=size),
                                   Code.INVALID_ARGUMENT, "INVALID_REQUEST")
            self.assertIn("page_size", failure.violations)


class Watching(DaemonTest):
    def now(self):
        return self.vms.ListVms(V.ListVmsRequest(), timeout=20)

    def watch(self, **fields):
        watcher = Watcher(self.vms, **fields)
        self.addCleanup(watcher.cancel)
        return watcher

    def live(self, **spec):
        vm = self.running(**spec)
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id), timeout=20)
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm.vm_id), timeout=20)
        return vm

    def test_a_watch_from_a_list_misses_and_repeats_nothing(self):
        start = self.now()
        vm = self.live()

        events = self.watch(store_id=start.store_id, from_revision=start.revision) \
            .until(lambda event: event.type == TERMINAL)

        revisions = [event.revision for event in events]
        self.assertEqual(list(range(start.revision + 1, start.revision + 1 + len(events))),
                         revisions)
        self.assertEqual(V.EVENT_TYPE_ADDED, events[0].type)
        self.assertEqual(vm.vm_id, events[-1].vm.vm_id)
        self.assertEqual(V.VM_STATE_DESTROYED, events[-1].vm.status.state)
        for event in events:
            self.assertEqual(event.revision, event.vm.revision)
        self.assertIn(V.VM_STATE_STARTING, [event.vm.status.state for event in events])

    def test_two_watchers_see_the_same(self):
        start = self.now()
        watchers = [self.watch(store_id=start.store_id, from_revision=start.revision)
                    for _ in range(2)]
        self.live()

        seen = [watcher.until(lambda event: event.type == TERMINAL) for watcher in watchers]

        self.assertEqual(seen[0], seen[1])

    def test_an_initial_watch_tells_what_there_is_then_what_changes(self):
        vm = self.create()
        watcher = self.watch(send_initial=True)

        initial = watcher.initial()
        self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id), timeout=20)
        changes = watcher.until(lambda event: event.vm.status.state == V.VM_STATE_RUNNING)

        self.assertEqual({V.EVENT_TYPE_INITIAL}, {event.type for event in initial})
        self.assertIn(vm, [event.vm for event in initial])
        self.assertEqual({V.EVENT_TYPE_MODIFIED}, {event.type for event in changes})

    def test_an_initial_watch_of_nothing_says_that_it_is_done(self):
        self.assertEqual([], self.watch(send_initial=True, tenant="nobodys").initial())

    def test_a_watch_from_now_on_tells_nothing_of_before(self):
        self.create()
        watcher = self.watch(bookmark_interval={"seconds": 1})
        first = next(watcher.messages())  # it is under way
        self.assertEqual(0, len(first.events))

        vm = self.create()

        self.assertEqual(vm.vm_id, watcher.until(lambda event: True)[0].vm.vm_id)

    def test_an_idle_watch_greets_with_its_headers(self):
        call = self.watch().call

        call.initial_metadata()  # or else comes only with the end, at the deadline

        self.assertTrue(call.is_active())

    def test_bookmarks_keep_an_idle_watcher_current(self):
        start = self.now()
        watcher = self.watch(store_id=start.store_id, from_revision=start.revision,
                             label_selector="never=there", bookmark_interval={"seconds": 1})
        self.create()
        now = self.now().revision

        for message in watcher.messages():
            self.assertEqual(0, len(message.events))
            if message.revision >= now:
                break

        self.assertEqual(now, watcher.revision)
        self.assertEqual(start.store_id, watcher.store_id)

    def test_leaving_and_entering_the_selector_is_said(self):
        vm = self.create(labels={"stage": "one"})
        start = self.now()
        watcher = self.watch(store_id=start.store_id, from_revision=start.revision,
                             label_selector="stage=one")

        for stage in ("two", "one"):
            request = V.UpdateVmRequest(vm_id=vm.vm_id)
            request.spec.labels["stage"] = stage
            request.update_mask.paths.append("labels")
            self.vms.UpdateVm(request, timeout=20)
        events = watcher.until(lambda event: event.type == V.EVENT_TYPE_ADDED)

        self.assertEqual([V.EVENT_TYPE_OUT_OF_SELECTOR, V.EVENT_TYPE_ADDED],
                         [event.type for event in events])

    def test_only_the_vms_that_are_named(self):
        start = self.now()
        wanted, other = self.new_id(), self.new_id()
        self.create(other)
        self.create(wanted)

        events = self.watch(store_id=start.store_id, from_revision=start.revision,
                            vm_ids=[wanted]).until(lambda event: True)

        self.assertEqual(wanted, events[0].vm.vm_id)

    def test_a_revision_of_the_future_is_refused(self):
        now = self.now()

        self.refused(self.vms.WatchVms, V.WatchVmsRequest(
            store_id=now.store_id, from_revision=now.revision + 1000),
            Code.OUT_OF_RANGE, "COMPACTED")

    def test_another_stores_revision_is_refused(self):
        self.refused(self.vms.WatchVms, V.WatchVmsRequest(
            store_id="11111111-2222-3333-4444-555555555555", from_revision=1),
            Code.OUT_OF_RANGE, "STORE_CHANGED")

    def test_contradictions_are_refused_by_field(self):
        now = self.now()
        for fields, field in (
                ({"from_revision": 1}, "store_id"),
                ({"from_revision": 1, "store_id": now.store_id, "send_initial": True},
                 "send_initial"),
                ({"bookmark_interval": {"nanos": 1000}}, "bookmark_interval"),
                ({"bookmark_interval": {"seconds": 3601}}, "bookmark_interval"),
                ({"vm_ids": ["a%d" % i for i in range(101)]}, "vm_ids")):
            with self.subTest(field):
                failure = self.refused(self.vms.WatchVms, V.WatchVmsRequest(**fields),
                                       Code.INVALID_ARGUMENT, "INVALID_REQUEST")
                self.assertTrue(any(field in name for name in failure.violations), failure)


class Compaction(DaemonTest):
    flags = ("--history", "16")

    def test_a_revision_no_longer_held_is_compacted(self):
        start = self.vms.ListVms(V.ListVmsRequest(), timeout=20)
        for _ in range(60):
            self.create()

        failure = self.refused(self.vms.WatchVms, V.WatchVmsRequest(
            store_id=start.store_id, from_revision=start.revision + 1),
            Code.OUT_OF_RANGE, "COMPACTED")

        self.assertEqual("AFTER_READ", failure.metadata["retry"])

    def test_what_is_held_still_can_be_watched(self):
        for _ in range(60):
            self.create()
        now = self.vms.ListVms(V.ListVmsRequest(), timeout=20)

        watcher = Watcher(self.vms, store_id=now.store_id, from_revision=now.revision - 5)
        taken = list(itertools.islice(watcher.events(), 5))
        watcher.cancel()

        self.assertEqual(list(range(now.revision - 4, now.revision + 1)),
                         [event.revision for event in taken])


class Resuming(DaemonTest):
    def test_a_watch_goes_on_over_a_restart_without_a_gap(self):
        start = self.vms.ListVms(V.ListVmsRequest(), timeout=20)
        created = [self.create().vm_id for _ in range(5)]
        watcher = Watcher(self.vms, store_id=start.store_id, from_revision=start.revision)
        seen = list(itertools.islice(watcher.events(), 3))
        watcher.cancel()

        self.daemon.restart()
        created += [self.create().vm_id for _ in range(5)]
        again = Watcher(self.vms, store_id=start.store_id, from_revision=seen[-1].revision)
        seen += again.until(lambda event: event.vm.vm_id == created[-1])
        again.cancel()

        revisions = [event.revision for event in seen]
        self.assertEqual(list(range(start.revision + 1, revisions[-1] + 1)), revisions)
        added = [event.vm.vm_id for event in seen if event.type == V.EVENT_TYPE_ADDED]
        self.assertEqual(created, added)


class Wiped(DaemonTest):
    def test_a_wiped_store_is_another_store(self):
        before = self.vms.ListVms(V.ListVmsRequest(), timeout=20)
        other = Hearthd()
        self.addCleanup(other.close)

        other.start()

        after = other.vms.ListVms(V.ListVmsRequest(), timeout=20)
        self.assertNotEqual(before.store_id, after.store_id)

    def test_a_drained_agent_ends_its_watches(self):
        daemon = Hearthd()
        self.addCleanup(daemon.close)
        daemon.start()
        watcher = Watcher(daemon.vms, bookmark_interval={"seconds": 1})
        next(watcher.messages())

        code = daemon.terminate()

        self.assertEqual(0, code)
        with self.assertRaises(grpc.RpcError) as caught:
            for _ in watcher.messages():
                pass
        self.assertEqual(Code.UNAVAILABLE, caught.exception.code())
        wait_until(lambda: not daemon.socket.exists(), "the socket is gone")

# SPDX-License-Identifier: Apache-2.0
"""The store whose file is not what it was, or of another version."""

import json
import os
import sqlite3
import subprocess
import time
import unittest

import grpc

from harness import Code, Failure, N, V, wait_until
from store_host import RUNNING, STOPPED, LeftBehindTest


def overwrite(path, begin, end=None):
    with open(path, "r+b") as file:
        file.seek(begin)
        file.write(os.urandom((end or path.stat().st_size) - begin))


def spoil_header(database):
    overwrite(database, 0, 100)


def spoil_all_but_the_header(database):
    overwrite(database, 4096)


def cut_in_half(database):
    os.truncate(database, database.stat().st_size // 2 // 4096 * 4096)


def empty(database):
    os.truncate(database, 0)


def remove(database):
    for file in database.parent.glob("hearth.db*"):
        file.unlink()


def spoil_log(database):
    overwrite(database.with_name("hearth.db-wal"), 0)


def spoil_one_record(database):
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE vms SET record = '{' WHERE vm_id = 'runs'")
    connection.close()


def raise_major(database):
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE meta SET value = 2 WHERE key = 'major'")
    connection.close()


DAMAGES = (spoil_header, spoil_all_but_the_header, cut_in_half, empty, remove, spoil_log,
           spoil_one_record)


class DamagedStoreTest(LeftBehindTest):
    """It is refused, and made again from what can be read and what runs."""

    def run_once(self, *flags):
        return subprocess.run(self.daemon.command(*flags), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)

    def refused_at_start(self):
        result = self.run_once()
        said = result.stdout + result.stderr
        self.assertNotEqual(0, result.returncode, said)
        self.assertIn("--rebuild", said)
        return said

    def rebuild(self):
        result = self.run_once("--rebuild")
        self.assertEqual(0, result.returncode, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def life_after(self, spoil):
        before = self.populate()
        pids = {vm_id: vm.status.resolved.vmm_pid for vm_id, vm in before.items()}
        store_id = self.daemon.node.GetNode(N.GetNodeRequest(), timeout=20).status.store_id
        if spoil is spoil_log:
            self.daemon.kill()
        else:
            self.assertEqual(0, self.daemon.terminate())

        spoil(self.database)
        spoilt = self.database.read_bytes() if self.database.exists() else None

        self.refused_at_start()
        said = self.rebuild()
        aside = [path for path in self.daemon.state.glob("hearth.db.corrupt-*")
                 if not path.name.endswith("-wal")]
        if spoilt:
            self.assertEqual([spoilt], [path.read_bytes() for path in aside])
            self.assertIn(str(aside[0]), said)
        daemon = self.daemon.start()
        self.assertNotEqual(store_id,
                            daemon.node.GetNode(N.GetNodeRequest(), timeout=20).status.store_id)
        for vm_id, state in (("runs", RUNNING), ("paused", V.VM_STATE_PAUSED),
                             ("stopped", STOPPED)):
            vm = daemon.vms.GetVm(V.GetVmRequest(vm_id=vm_id), timeout=20)
            self.assertEqual(state, vm.status.state, vm_id)
            self.assertEqual(before[vm_id].uid, vm.uid)
            self.assertEqual({"name": vm_id}, dict(vm.spec.labels))
            if state != STOPPED:
                self.assertEqual(pids[vm_id], vm.status.resolved.vmm_pid)
                self.assertEqual(before[vm_id].status.observed_generation,
                                 vm.status.observed_generation)
        daemon.vms.ResumeVm(V.ResumeVmRequest(vm_id="paused"), timeout=20)
        self.assertEqual(STOPPED, self.stop(daemon, "runs"))
        daemon.vms.StartVm(V.StartVmRequest(vm_id="runs"), timeout=60)
        self.destroy(daemon, "paused")
        self.destroy(daemon, "stopped")
        return [vm.vm_id for vm in daemon.vms.ListVms(V.ListVmsRequest(), timeout=20).vms]

    def test_one_whose_record_cannot_be_read_keeps_the_others(self):
        self.assertEqual(["memory", "runs"], self.life_after(spoil_one_record))

        cordons = self.daemon.node.GetNode(N.GetNodeRequest(), timeout=20).status.cordons
        self.assertEqual(["ops"], [cordon.owner for cordon in cordons])

    def test_one_of_a_newer_major_version_is_refused_and_left_alone(self):
        self.daemon.start()
        self.assertEqual(0, self.daemon.terminate())
        raise_major(self.database)
        before = self.database.read_bytes()

        result = self.run_once()

        self.assertNotEqual(0, result.returncode)
        self.assertIn("version 2", result.stdout + result.stderr)
        self.assertEqual(before, self.database.read_bytes())

    def test_one_that_is_whole_is_made_again_too(self):
        self.daemon.start()
        self.create(self.daemon, "memory", backend=V.BACKEND_IN_MEMORY)
        self.daemon.kill()

        self.rebuild()

        self.daemon.start()
        self.assertEqual(V.VM_STATE_CREATED, self.state(self.daemon, "memory"))

    def test_one_that_is_served_is_not_made_again(self):
        self.daemon.start()

        result = self.run_once("--rebuild")

        self.assertNotEqual(0, result.returncode)
        self.assertIn("another agent", result.stdout + result.stderr)

    def test_damage_met_while_serving_is_said_and_the_agent_goes_on(self):
        daemon = self.daemon.start()
        for i in range(400):
            self.create(daemon, "vm-%d" % i, backend=V.BACKEND_IN_MEMORY)
        daemon.restart()  # with a small cache, and all in the database
        self.assertEqual(0, daemon.terminate())
        daemon.start()

        spoil_all_but_the_header(self.database)

        def damaged():
            for i in range(400):
                try:
                    daemon.vms.ListVmEvents(V.ListVmEventsRequest(vm_id="vm-%d" % i), timeout=20)
                    self.create(daemon, "new-%d-%d" % (i, time.monotonic_ns()),
                                backend=V.BACKEND_IN_MEMORY)
                except grpc.RpcError as error:
                    return Failure(error)
            return None

        failure = wait_until(damaged, "the damage is met")
        self.assertEqual(Code.DATA_LOSS, failure.code, failure)
        self.assertIn("--rebuild", failure.message)
        self.assertEqual(V.VM_STATE_CREATED, self.state(daemon, "vm-3"))
        self.assertFalse(self.writable(daemon))
        self.assertIn("--rebuild", self.check(daemon).remedy)


def add_columns_and_members(database):
    """What a newer minor version may have added."""
    with sqlite3.connect(database) as connection:
        connection.executescript("""
            UPDATE meta SET value = 1 WHERE key = 'minor';
            INSERT INTO meta VALUES('colour', 'red');
            CREATE TABLE pools(pool_id TEXT PRIMARY KEY, record TEXT);
            ALTER TABLE vms ADD COLUMN zone TEXT DEFAULT 'here';
            ALTER TABLE events ADD COLUMN zone TEXT DEFAULT 'here';
            UPDATE vms SET record = json_set(record, '$.later', json('{"a": [1]}'),
                '$.vm.later', 1, '$.spec.later', 'x', '$.spec.machine.later', json('[]'),
                '$.status.later', 1.5, '$.status.resolved.later', json('{}'));
            UPDATE events SET record = json_set(record, '$.vm.later', 1, '$.status.later', 2);
        """)
    connection.close()


class VersionTest(LeftBehindTest):
    """Files of newer and of older versions."""

    def test_a_store_one_minor_version_newer_is_served(self):
        before = self.populate()
        self.assertEqual(0, self.daemon.terminate())
        add_columns_and_members(self.database)

        daemon = self.daemon.start()

        for vm_id, vm in before.items():
            now = daemon.vms.GetVm(V.GetVmRequest(vm_id=vm_id), timeout=20)
            self.assertEqual((vm.uid, vm.spec.machine, vm.spec.labels),
                             (now.uid, now.spec.machine, now.spec.labels))
        self.assertEqual(RUNNING, self.state(daemon, "runs"))
        self.assertEqual(STOPPED, self.stop(daemon, "runs"))
        self.destroy(daemon, "paused")
        daemon.restart()
        self.assertEqual(STOPPED, self.state(daemon, "runs"))

    def test_a_keeper_of_the_first_version_is_adopted(self):
        vm = self.populate()["runs"]
        run_dir = self.daemon.state / "vms" / vm.status.resolved.instance_id
        self.daemon.kill()
        state = json.loads((run_dir / "keeper.json").read_text())
        first = {"version": 1, "hearth": "0.1.0", "boot_id": state["boot_id"]}
        for role in ("keeper", "vmm"):
            first[role] = {key: state[role][key] for key in ("pid", "start_time")}
        (run_dir / "keeper.json").write_text(json.dumps(first))
        (run_dir / "record.json").unlink()  # of an agent that did not write one

        daemon = self.daemon.start()

        adopted = daemon.vms.GetVm(V.GetVmRequest(vm_id="runs"), timeout=20)
        self.assertEqual(RUNNING, adopted.status.state)
        self.assertEqual(vm.status.resolved.vmm_pid, adopted.status.resolved.vmm_pid)
        self.assertEqual(STOPPED, self.stop(daemon, "runs"))


def _add_damages():
    """A test for each damage after which only run directories tell of VMs."""
    def make(spoil):
        def test(self):
            self.assertIn("runs", self.life_after(spoil))
        return test

    for spoil in DAMAGES:
        if spoil is not spoil_one_record:
            setattr(DamagedStoreTest, "test_what_runs_is_adopted_after_" + spoil.__name__,
                    make(spoil))


_add_damages()


if __name__ == "__main__":
    unittest.main()

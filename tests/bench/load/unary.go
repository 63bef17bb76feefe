// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	pb "hearth/bench/pb"
)

// request asks for a running VM of ordinary size: labels, a boot source, a policy.
func request(i int64) *pb.CreateVmRequest {
	return &pb.CreateVmRequest{
		VmId: fmt.Sprintf("%s-%d", *prefix, i),
		Spec: &pb.VmSpec{
			Backend:      pb.Backend_BACKEND_IN_MEMORY,
			DesiredState: pb.DesiredState_DESIRED_STATE_RUNNING,
			Labels:       map[string]string{"app": "web", "tier": "front"},
			Machine:      &pb.Machine{Vcpus: 1, MemoryMib: 128},
			Boot:         &pb.Boot{KernelPath: "/srv/guest/vmlinuz", BootArgs: "console=ttyS0 quiet"},
		},
	}
}

// run makes VMs from all callers until more() says no: each is durable, and started, when answered.
func run(ctx context.Context, clients []pb.VmServiceClient, more func(int64) bool) ([]time.Duration, time.Duration) {
	var next atomic.Int64
	var group sync.WaitGroup
	took := make([][]time.Duration, *callers)
	begun := time.Now()
	for c := range *callers {
		group.Go(func() {
			for i := next.Add(1) - 1; more(i); i = next.Add(1) - 1 {
				at := time.Now()
				vm, err := clients[c%len(clients)].CreateVm(ctx, request(i))
				if err != nil {
					log.Fatal(err)
				}
				if vm.Status.State != pb.VmState_VM_STATE_RUNNING {
					log.Fatalf("%s is %s", vm.VmId, vm.Status.State)
				}
				took[c] = append(took[c], time.Since(at))
			}
		})
	}
	group.Wait()
	elapsed := time.Since(begun)
	var all []time.Duration
	for _, part := range took {
		all = append(all, part...)
	}
	return all, elapsed
}

// fill makes count VMs.
func fill(ctx context.Context) figures {
	f := figures{}
	all, elapsed := run(ctx, dial(), func(i int64) bool { return i < int64(*count) })
	f["create_per_s"] = float64(len(all)) / elapsed.Seconds()
	f.latencies("create", all)
	return f
}

// probe calls GetVm at a steady rate until done is closed, from a connection of its own. A call's
// time counts from when it was due, so that a stall is not hidden by the calls it kept from starting.
func probe(ctx context.Context, client pb.VmServiceClient, done <-chan struct{}) []time.Duration {
	var all []time.Duration
	period := time.Duration(float64(time.Second) / *rate)
	due := time.Now()
	for {
		select {
		case <-done:
			return all
		case <-time.After(time.Until(due)):
		}
		if _, err := client.GetVm(ctx, &pb.GetVmRequest{VmId: "fill-0"}); err != nil {
			log.Fatal(err)
		}
		all = append(all, time.Since(due))
		due = due.Add(period)
	}
}

// beside runs work with a probe at its side.
func beside(ctx context.Context, f figures, work func()) {
	done := make(chan struct{})
	result := make(chan []time.Duration)
	client := dial()[0]
	if _, err := client.GetVm(ctx, &pb.GetVmRequest{VmId: "fill-0"}); err != nil {
		log.Fatal(err)
	}
	go func() { result <- probe(ctx, client, done) }()
	work()
	close(done)
	f.latencies("get", <-result)
}

// get probes while nothing else goes on.
func get(ctx context.Context) figures {
	f := figures{}
	beside(ctx, f, func() { time.Sleep(time.Duration(*seconds * float64(time.Second))) })
	return f
}

// create makes VMs for a while, with a probe.
func create(ctx context.Context) figures {
	f := figures{}
	clients := dial()
	beside(ctx, f, func() {
		end := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
		all, elapsed := run(ctx, clients, func(int64) bool { return time.Now().Before(end) })
		f["create_per_s"] = float64(len(all)) / elapsed.Seconds()
		f.latencies("create", all)
	})
	return f
}

// list pages through all VMs again and again, with a probe.
func list(ctx context.Context) figures {
	f := figures{}
	client := dial()[0]
	var pages []time.Duration
	beside(ctx, f, func() {
		end := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
		for time.Now().Before(end) {
			seen, token := 0, ""
			for more := true; more; more = token != "" {
				at := time.Now()
				reply, err := client.ListVms(ctx, &pb.ListVmsRequest{PageSize: uint32(*page), PageToken: token})
				if err != nil {
					log.Fatal(err)
				}
				pages = append(pages, time.Since(at))
				seen, token = seen+len(reply.Vms), reply.NextPageToken
			}
			f["vms"] = float64(seen)
		}
	})
	f.latencies("page", pages)
	return f
}

// dump writes one VM as hearthd answers it.
func dump(ctx context.Context) figures {
	vm, err := dial()[0].GetVm(ctx, &pb.GetVmRequest{VmId: "fill-0"})
	if err != nil {
		log.Fatal(err)
	}
	data, err := proto.Marshal(vm)
	if err == nil {
		err = os.WriteFile(*out, data, 0o600)
	}
	if err != nil {
		log.Fatal(err)
	}
	return figures{"bytes": float64(len(data))}
}

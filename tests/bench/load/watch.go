// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "hearth/bench/pb"
)

// arrivals collects when each revision reached which watcher.
type arrivals struct {
	mu    sync.Mutex
	times map[uint64][]time.Time
	more  *sync.Cond
}

func (a *arrivals) follow(ctx context.Context, stream pb.VmService_WatchVmsClient) {
	for {
		reply, err := stream.Recv()
		if err != nil {
			if ctx.Err() == nil {
				log.Fatal(err)
			}
			return
		}
		at := time.Now()
		a.mu.Lock()
		for _, event := range reply.Events {
			a.times[event.Revision] = append(a.times[event.Revision], at)
		}
		a.mu.Unlock()
		a.more.Broadcast()
	}
}

// wait is over when all watchers have the revision; answers when each had it.
func (a *arrivals) wait(revision uint64) []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.times[revision]) < *count {
		a.more.Wait()
	}
	return slices.SortedFunc(slices.Values(a.times[revision]), time.Time.Compare)
}

func change(ctx context.Context, client pb.VmServiceClient, i int) *pb.Vm {
	vm, err := client.UpdateVm(ctx, &pb.UpdateVmRequest{
		VmId:       "fill-0",
		Spec:       &pb.VmSpec{Labels: map[string]string{"change": fmt.Sprint(i)}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	return vm
}

// watch opens count streams; the script measures hearthd before, between and after.
func watch(ctx context.Context) figures {
	f := figures{}
	clients := dial()
	a := &arrivals{times: map[uint64][]time.Time{}}
	a.more = sync.NewCond(&a.mu)
	for _, client := range clients {
		change(ctx, client, -1)
	}
	// From a known revision, a watcher that starts late misses nothing.
	now, err := clients[0].ListVms(ctx, &pb.ListVmsRequest{PageSize: 1})
	if err != nil {
		log.Fatal(err)
	}
	wait("connected")
	begun := time.Now()
	for i := range *count {
		stream, err := clients[i%len(clients)].WatchVms(ctx,
			&pb.WatchVmsRequest{StoreId: now.StoreId, FromRevision: now.Revision,
				BookmarkInterval: durationpb.New(time.Hour)})
		if err != nil {
			log.Fatal(err)
		}
		go a.follow(ctx, stream)
	}
	a.wait(change(ctx, clients[0], -2).Revision)
	f["open_s"] = time.Since(begun).Seconds()
	wait("watching")
	var all, half, answer []time.Duration
	for i := range *changes {
		at := time.Now()
		vm := change(ctx, clients[0], i)
		answered := time.Since(at)
		times := a.wait(vm.Revision)
		answer = append(answer, answered)
		half = append(half, times[len(times)/2].Sub(at))
		all = append(all, times[len(times)-1].Sub(at))
		time.Sleep(50 * time.Millisecond)
	}
	wait("changed")
	f.latencies("answer", answer)
	f.latencies("half", half)
	f.latencies("all", all)
	return f
}

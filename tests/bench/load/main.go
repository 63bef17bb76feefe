// SPDX-License-Identifier: Apache-2.0

// load puts load on hearthd and measures it from a client's side. Each verb prints one JSON object.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "hearth/bench/pb"
)

var (
	address     = flag.String("address", "", "host:port of hearthd")
	callers     = flag.Int("callers", 32, "callers at once")
	connections = flag.Int("connections", 4, "connections they share")
	count       = flag.Int("count", 1000, "VMs, or watchers")
	changes     = flag.Int("changes", 20, "changes to watch")
	seconds     = flag.Float64("seconds", 3, "how long")
	rate        = flag.Float64("rate", 200, "GetVm calls a second, from one caller")
	page        = flag.Uint("page", 1000, "VMs a page")
	prefix      = flag.String("prefix", "fill", "of the VMs' ids")
	out         = flag.String("out", "", "file for a serialised Vm")
)

// figures are what a verb found: name to number, in the unit the name ends in.
type figures map[string]float64

func dial() []pb.VmServiceClient {
	clients := make([]pb.VmServiceClient, *connections)
	for i := range clients {
		c, err := grpc.NewClient(*address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
		if err != nil {
			log.Fatal(err)
		}
		clients[i] = pb.NewVmServiceClient(c)
	}
	return clients
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

func percentile(sorted []time.Duration, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return ms(sorted[min(len(sorted)-1, int(p*float64(len(sorted))))])
}

func (f figures) latencies(name string, all []time.Duration) {
	slices.Sort(all)
	f[name+"_count"] = float64(len(all))
	f[name+"_p50_ms"] = percentile(all, 0.50)
	f[name+"_p99_ms"] = percentile(all, 0.99)
	f[name+"_max_ms"] = percentile(all, 1)
}

// wait tells the script that a state is reached, and goes on when it says so.
func wait(what string) {
	fmt.Println(what)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		log.Fatal("the script is gone")
	}
}

func main() {
	verbs := map[string]func(context.Context) figures{
		"fill": fill, "create": create, "get": get, "list": list, "watch": watch, "dump": dump,
	}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		log.Fatal("load VERB [FLAG...]: fill, create, get, list, watch or dump")
	}
	if err := flag.CommandLine.Parse(os.Args[2:]); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := json.NewEncoder(os.Stdout).Encode(verbs[os.Args[1]](ctx)); err != nil {
		log.Fatal(err)
	}
}

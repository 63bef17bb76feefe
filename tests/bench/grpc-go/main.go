// SPDX-License-Identifier: Apache-2.0

// grpc-go serves GetVm as hearthd does, from a map: what hearthd's CPU per call is compared with.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "hearth/bench/pb"
)

type server struct {
	pb.UnimplementedVmServiceServer
	mu  sync.RWMutex
	vms map[string]*pb.Vm
}

func (s *server) GetVm(_ context.Context, in *pb.GetVmRequest) (*pb.Vm, error) {
	s.mu.RLock()
	vm := s.vms[in.VmId]
	s.mu.RUnlock()
	if vm == nil {
		return nil, status.Errorf(codes.NotFound, "no VM %s", in.VmId)
	}
	return vm, nil
}

// load makes count VMs after the one in the file, named as hearthd's were.
func load(path string, count int) (map[string]*pb.Vm, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	first := &pb.Vm{}
	if err := proto.Unmarshal(data, first); err != nil {
		return nil, err
	}
	vms := make(map[string]*pb.Vm, count)
	for i := range count {
		vm := proto.Clone(first).(*pb.Vm)
		vm.VmId = fmt.Sprintf("fill-%d", i)
		vms[vm.VmId] = vm
	}
	return vms, nil
}

func main() {
	address := flag.String("address", "", "host:port to serve")
	path := flag.String("vm", "", "a Vm, serialised")
	count := flag.Int("count", 1000, "VMs")
	flag.Parse()
	vms, err := load(*path, *count)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterVmServiceServer(g, &server{vms: vms})
	log.Fatal(g.Serve(listener))
}

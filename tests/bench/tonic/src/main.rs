// SPDX-License-Identifier: Apache-2.0

//! Serves GetVm as hearthd does, from a map: another server for hearthd to be compared with.
//! Arguments: address, file with a serialised Vm, number of VMs.

use std::collections::HashMap;

use prost::Message;
use tonic::{Request, Response, Status};

// The names that the generated code has for its packages.
mod google {
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}
mod hearth {
    pub mod v1 {
        tonic::include_proto!("hearth.v1");
    }
}

use hearth::v1::{vm_service_server, GetVmRequest, Vm};

struct Server {
    vms: std::sync::RwLock<HashMap<String, Vm>>,
}

#[tonic::async_trait]
impl vm_service_server::VmService for Server {
    async fn get_vm(&self, request: Request<GetVmRequest>) -> Result<Response<Vm>, Status> {
        let vm_id = &request.get_ref().vm_id;
        match self.vms.read().unwrap().get(vm_id) {
            Some(vm) => Ok(Response::new(vm.clone())),
            None => Err(Status::not_found(format!("no VM {vm_id}"))),
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let first = Vm::decode(&*std::fs::read(&arguments[2])?)?;
    let count: usize = arguments[3].parse()?;
    let vms = (0..count).map(|i| {
        let vm_id = format!("fill-{i}");
        (vm_id.clone(), Vm { vm_id, ..first.clone() })
    });
    let server = Server { vms: std::sync::RwLock::new(vms.collect()) };
    tonic::transport::Server::builder()
        .add_service(vm_service_server::VmServiceServer::new(server))
        .serve(arguments[1].parse()?)
        .await?;
    Ok(())
}

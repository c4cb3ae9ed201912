//! A worker alone, spoken to by gRPC.

use std::time::Duration;

use proto::worker_client::WorkerClient;
use tempfile::TempDir;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::{program::Program, zoo};

/// A running worker over the zoo.
pub struct Worker {
    pub program: Program,
    pub address: String,
    _folder: TempDir,
}

impl Worker {
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("it-").tempdir().expect("a folder");
        let program = Program::start("gpu-worker", |command| {
            command.args(["--listen", "127.0.0.1:0", "--hub"]).arg(zoo::hub()).args(arguments);
            command.env("TMPDIR", folder.path()).env("HF_HOME", folder.path().join("cache"));
            command.env("ANYMODEL_STATE_DIR", folder.path().join("state"));
        });
        let address = program.wait_for("where it listens", |line| {
            line.strip_prefix("listening on ").map(str::to_owned)
        });
        Self { program, address, _folder: folder }
    }

    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("a URL");
        endpoint
            .connect_timeout(Duration::from_secs(10))
            .initial_stream_window_size(4 << 20)
            .connect()
            .await
            .expect("the worker answers")
    }

    pub async fn client(&self) -> WorkerClient<Channel> {
        WorkerClient::new(self.channel().await)
            .max_decoding_message_size(proto::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(proto::MAX_MESSAGE_BYTES)
    }
}

/// The stable code that the worker attached to its status.
pub fn detail(status: &Status) -> proto::ErrorDetail {
    use prost::Message;

    let packed = tonic_types::pb::Status::decode(status.details()).expect("details");
    let any = packed.details.first().unwrap_or_else(|| panic!("no detail: {status:?}"));
    assert_eq!(any.type_url, "type.googleapis.com/anymodel.v1.ErrorDetail");
    proto::ErrorDetail::decode(any.value.as_slice()).expect("an ErrorDetail")
}

//! Adapters come to a lane and leave it between two steps.

use tch::Device;
use tokio::sync::oneshot;

use super::{Command, LaneBody, LaneHandle, guarded, unloaded};
use crate::{
    failure::{Code, Failure},
    memory::shim,
    tasks::{AdapterKey, FetchedAdapter, Pipelines},
};

/// What becomes of an adapter.
pub(super) enum AdapterCommand {
    Adopt(Box<FetchedAdapter>, oneshot::Sender<Result<(), Failure>>),
    Discard(AdapterKey, oneshot::Sender<()>),
}

impl LaneHandle {
    /// Fits an adapter to the lane's model, or says why it does not fit.
    pub async fn adopt(&self, adapter: FetchedAdapter) -> Result<(), Failure> {
        let (sender, answer) = oneshot::channel();
        let command = AdapterCommand::Adopt(Box::new(adapter), sender);
        let _ = self.commands.send(Command::Adapter(command));
        answer.await.unwrap_or_else(|_| Err(unloaded()))
    }

    /// Lets go of an adapter that no job has; resolves when its memory is back.
    pub fn discard(&self, key: AdapterKey) -> oneshot::Receiver<()> {
        let (sender, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Adapter(AdapterCommand::Discard(key, sender)));
        answer
    }
}

impl LaneBody {
    pub(super) fn adapt(&self, command: AdapterCommand, pipelines: &Pipelines) {
        match command {
            AdapterCommand::Adopt(adapter, answer) => {
                let fitted = guarded(Code::LoadFailed, || {
                    pipelines.adopt(*adapter)?;
                    // The next step may run on another stream than the one that copies.
                    let Device::Cuda(index) = self.device else { return Ok(()) };
                    let ended = shim::synchronize(index).map(drop);
                    ended.map_err(|error| Failure::new(Code::LoadFailed, error))
                });
                let _ = answer.send(fitted.and_then(|fitted| fitted));
            }
            AdapterCommand::Discard(key, answer) => {
                pipelines.discard(&key);
                let _ = answer.send(());
            }
        }
    }
}

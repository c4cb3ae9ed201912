//! What an adapter does to a model's layers, in whichever format it was saved.

use std::collections::HashMap;

use tch::Tensor;

use super::{
    Checkpoint, lora_file,
    peft::{self, Part, PeftError},
};

#[derive(Clone, Debug)]
pub enum AdapterPlan {
    /// A config and its tensors.
    Peft(peft::Plan),
    /// One file of tensors.
    File(lora_file::Plan),
}

impl AdapterPlan {
    /// What becomes of the layers of a model, by their places among its modules. `tensors` are the adapter's, in memory
    /// that nobody else has: the scale is put into them.
    pub fn parts(
        &self,
        tensors: HashMap<String, Tensor>,
        model: &Checkpoint,
    ) -> Result<HashMap<usize, Part>, PeftError> {
        match self {
            Self::Peft(plan) => plan.parts(tensors, model),
            Self::File(plan) => plan.parts(tensors, model),
        }
    }
}

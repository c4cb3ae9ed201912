//! Memory of the process and its devices: what is used, what comes back, and what libtorch has to be told about it.

pub mod region;
pub mod shim;

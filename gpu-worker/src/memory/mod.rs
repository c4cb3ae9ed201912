//! Memory of the process and its devices: what is used, what comes back, and what libtorch has to be told about it.

pub mod allocator;
pub mod cuda;
pub mod cuda_errors;
pub mod nvml;
pub mod openmp;
pub mod parallel;
pub mod peak;
pub mod process;
pub mod region;
pub mod shim;
pub mod sigbus;
pub mod team;

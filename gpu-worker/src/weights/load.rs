//! Brings the tensors of opened files to a device and a kind, with at most one copy of each.
//!
//! On CPU a mapped tensor of the wanted kind *is* the map. Everything else is read or converted into anonymous chunks of at most
//! [`HOST_CHUNK`] bytes, a slice at a time, so that no tensor exists twice. On a GPU tensors go through two pinned
//! buffers into few large allocations; that path has not been run on a GPU, only its steps on CPU (see the tests).

pub(super) mod device;

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

use safetensors::Dtype;
use tch::{Device, Kind, Tensor};

use super::{arena::pack, error::WeightsError, header::TensorInfo, source::Source};
use crate::memory::{
    parallel,
    region::Region,
    shim::{self, ShimError},
};

/// Small enough that tensors a model drops (fused ones, say) soon give their chunk back.
const HOST_CHUNK: u64 = 64 << 20;
/// Large enough that a residency is a handful of allocations.
const DEVICE_CHUNK: u64 = 1 << 30;
/// Stored bytes that are converted, or sent to a device, at a time.
const SLICE_BYTES: u64 = 16 << 20;
/// Elements one thread converts before it takes the next job.
const JOB_ELEMENTS: u64 = 16 * SERIAL_ELEMENTS;
/// libtorch splits a copy of 32,768 elements or more among its OpenMP threads. A barrier waits for a core that a
/// busy neighbour holds, so our own threads convert just below that.
const SERIAL_ELEMENTS: u64 = 32_704;

/// How the bytes of a file are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Mapped: only for immutable cache blobs, since truncating a mapped file kills the process.
    Map,
    /// Read into memory of our own: for folders a user writes to.
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenOptions {
    pub device: Device,
    /// Floating tensors become this, float8 included; integers, booleans and complex numbers stay.
    pub kind: Kind,
    pub access: Access,
    /// Matrices that are stored in a half type stay so where the others become float32, see [`is_kept`].
    pub keeps_matrices: bool,
}

/// Whether a layer multiplies by a tensor as it is stored, though the model computes in float32: each value becomes
/// float32 as it is used, which is exact. Half of the memory, and of the time where reading it is most of that.
pub fn is_kept(dtype: Dtype, n_dims: usize) -> bool {
    n_dims == 2 && matches!(dtype, Dtype::F16 | Dtype::BF16)
}

/// How far [`super::Checkpoint::open`] is; bytes are those stored in the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadProgress {
    pub bytes_done: u64,
    pub bytes_total: u64,
    pub tensors_done: u32,
    pub tensors_total: u32,
}

/// One tensor of one file and what becomes of it.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) source: &'a Source,
    pub(super) info: &'a TensorInfo,
    pub(super) stored: Kind,
    pub(super) wanted: Kind,
}

impl<'a> Item<'a> {
    pub(super) fn new(
        source: &'a Source,
        info: &'a TensorInfo,
        kind: Kind,
        keeps_matrices: bool,
    ) -> Result<Self, WeightsError> {
        let keeps = keeps_matrices && kind == Kind::Float && is_kept(info.dtype, info.shape.len());
        let (stored, wanted) =
            kinds(info.dtype, kind).ok_or_else(|| WeightsError::UnsupportedDtype {
                tensor: info.name.clone(),
                file: source.path.clone(),
                dtype: info.dtype,
            })?;
        Ok(Self { source, info, stored, wanted: if keeps { stored } else { wanted } })
    }

    /// The tensor can be a view of the mapped file.
    fn is_mappable(&self) -> bool {
        let aligned = self.info.range.start.is_multiple_of(self.stored.elt_size_in_bytes() as u64);
        self.source.region.is_some() && self.stored == self.wanted && aligned
    }

    fn wanted_bytes(&self) -> u64 {
        self.info.elements() * self.wanted.elt_size_in_bytes() as u64
    }

    pub(super) fn failed(&self, source: impl Into<Cause>) -> WeightsError {
        let tensor = self.info.name.clone();
        match source.into() {
            Cause::Torch(source) => WeightsError::Torch { tensor, source },
            Cause::Shim(source) => WeightsError::View { tensor, source },
            Cause::Read(source) => WeightsError::Read { file: self.source.path.clone(), source },
        }
    }
}

/// What can go wrong with one tensor.
pub(super) enum Cause {
    Torch(tch::TchError),
    Shim(ShimError),
    Read(std::io::Error),
}

impl From<tch::TchError> for Cause {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error)
    }
}

impl From<ShimError> for Cause {
    fn from(error: ShimError) -> Self {
        Self::Shim(error)
    }
}

impl From<std::io::Error> for Cause {
    fn from(error: std::io::Error) -> Self {
        Self::Read(error)
    }
}

/// As what a dtype's bytes are read, and what they become. `None`: libtorch cannot compute with it.
fn kinds(dtype: Dtype, kind: Kind) -> Option<(Kind, Kind)> {
    let float = |stored| Some((stored, kind));
    let kept = |stored| Some((stored, stored));
    match dtype {
        Dtype::F64 => float(Kind::Double),
        Dtype::F32 => float(Kind::Float),
        Dtype::F16 => float(Kind::Half),
        Dtype::BF16 => float(Kind::BFloat16),
        Dtype::F8_E5M2 => float(Kind::Float8e5m2),
        Dtype::F8_E4M3 => float(Kind::Float8e4m3fn),
        Dtype::F8_E5M2FNUZ => float(Kind::Float8e5m2fnuz),
        Dtype::F8_E4M3FNUZ => float(Kind::Float8e4m3fnuz),
        Dtype::C64 => kept(Kind::ComplexFloat),
        Dtype::I64 => kept(Kind::Int64),
        Dtype::I32 => kept(Kind::Int),
        Dtype::I16 => kept(Kind::Int16),
        Dtype::I8 => kept(Kind::Int8),
        Dtype::U8 => kept(Kind::Uint8),
        // Read as bytes, so that one which is neither 0 nor 1 becomes true.
        Dtype::BOOL => Some((Kind::Uint8, Kind::Bool)),
        _ => None,
    }
}

/// Counts what is done, and asks after every step whether to go on.
pub(super) struct Tally<'a> {
    state: LoadProgress,
    report: &'a dyn Fn(LoadProgress) -> ControlFlow<()>,
}

impl<'a> Tally<'a> {
    pub(super) fn start(
        items: &[Item<'_>],
        report: &'a dyn Fn(LoadProgress) -> ControlFlow<()>,
    ) -> Result<Self, WeightsError> {
        let bytes_total = items.iter().map(|item| item.info.bytes()).sum();
        let state = LoadProgress {
            bytes_total,
            tensors_total: items.len() as u32,
            ..LoadProgress::default()
        };
        let mut tally = Self { state, report };
        tally.add(0, 0)?;
        Ok(tally)
    }

    pub(super) fn add(&mut self, bytes: u64, tensors: u32) -> Result<(), WeightsError> {
        self.state.bytes_done += bytes;
        self.state.tensors_done += tensors;
        match (self.report)(self.state) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(WeightsError::Cancelled),
        }
    }
}

pub(super) type Tensors = HashMap<String, Tensor>;

/// Tensors on the CPU. Answers how many bytes of them are the mapped files themselves.
pub(super) fn to_host(
    items: &[Item<'_>],
    tally: &mut Tally<'_>,
) -> Result<(Tensors, u64), WeightsError> {
    let mut tensors = Tensors::with_capacity(items.len());
    let mut mapped_bytes = 0;
    let kept = kept_files(items);
    let (views, copies): (Vec<Item<'_>>, Vec<Item<'_>>) = items
        .iter()
        .partition(|item| item.is_mappable() && kept.contains(&std::ptr::from_ref(item.source)));
    for item in views {
        let region = item.source.region.as_ref().expect("a mappable tensor's file is mapped");
        let tensor =
            shim::view(region, item.info.range.start as usize, &item.info.shape, item.stored)
                .map_err(|error| item.failed(error))?;
        tensors.insert(item.info.name.clone(), tensor);
        mapped_bytes += item.info.bytes();
        tally.add(item.info.bytes(), 1)?;
    }
    for chunk in pack(copies.iter().map(Item::wanted_bytes), HOST_CHUNK) {
        let places: Vec<_> =
            chunk.places.iter().map(|&(idx, offset)| (copies[idx], offset as usize)).collect();
        fill_host_chunk(chunk.bytes, &places, &mut tensors, tally)?;
    }
    Ok((tensors, mapped_bytes))
}

/// Shows tensors that were read as a row of values with their shapes, and every tensor under all of its names.
pub(super) fn show(source: &Source, tensors: &mut Tensors) -> Result<(), WeightsError> {
    for (name, strided) in &source.strided {
        let Some(row) = tensors.get(name) else { continue };
        // Models expect values one after the other.
        let shown = row
            .f_as_strided(strided.shape.as_slice(), strided.strides.as_slice(), None)
            .and_then(|shown| shown.f_contiguous())
            .map_err(|error| WeightsError::Torch { tensor: name.clone(), source: error })?;
        tensors.insert(name.clone(), shown);
    }
    for (name, of) in &source.aliases {
        let Some(tensor) = tensors.get(of).map(Tensor::shallow_clone) else { continue };
        tensors.insert(name.clone(), tensor);
    }
    Ok(())
}

/// Files that stay mapped: one whose bytes are mostly converted is not kept for the few tensors that are not.
fn kept_files(items: &[Item<'_>]) -> HashSet<*const Source> {
    let mut mappable: HashMap<*const Source, u64> = HashMap::new();
    for item in items.iter().filter(|item| item.is_mappable()) {
        *mappable.entry(item.source).or_default() += item.info.bytes();
    }
    let is_kept = |item: &&Item<'_>| {
        mappable
            .get(&std::ptr::from_ref(item.source))
            .is_some_and(|&bytes| bytes >= item.source.header.total_bytes() / 2)
    };
    items.iter().filter(is_kept).map(|item| std::ptr::from_ref(item.source)).collect()
}

fn fill_host_chunk(
    bytes: u64,
    places: &[(Item<'_>, usize)],
    tensors: &mut Tensors,
    tally: &mut Tally<'_>,
) -> Result<(), WeightsError> {
    let mut region = Region::anonymous(bytes as usize)
        .map_err(|source| WeightsError::Memory { bytes, source })?;
    let (read, converted): (Vec<_>, Vec<_>) =
        places.iter().partition(|(item, _)| item.stored == item.wanted);
    // What needs no conversion is read right into its place, while the region has no other owner.
    for &(item, offset) in read {
        let info = item.info;
        region
            .fill(offset..offset + info.bytes() as usize, &item.source.file, info.range.start)
            .map_err(|error| item.failed(error))?;
        tally.add(info.bytes(), 0)?;
    }
    let region = Arc::new(region);
    let jobs = converted.iter().flat_map(|&&(item, offset)| {
        let elements = item.info.elements();
        (0..elements).step_by(JOB_ELEMENTS as usize).map(move |begin| (item, offset, begin))
    });
    parallel::for_each(jobs, |slices: &mut Slices, (item, offset, begin)| {
        let count = JOB_ELEMENTS.min(item.info.elements() - begin);
        let offset = offset + begin as usize * item.wanted.elt_size_in_bytes();
        slices.convert(&item, begin, count, &region, offset).map_err(|cause| item.failed(cause))
    })?;
    for &(item, offset) in places {
        let tensor = shim::view(&region, offset, &item.info.shape, item.wanted)
            .map_err(|error| item.failed(error))?;
        tensors.insert(item.info.name.clone(), tensor);
        tally.add(if item.stored == item.wanted { 0 } else { item.info.bytes() }, 1)?;
    }
    Ok(())
}

/// Hands out a tensor's stored elements slice by slice: views of the map, or of one buffer that is read into again and again.
#[derive(Default)]
pub(super) struct Slices {
    buffer: Option<Arc<Region>>,
}

impl Slices {
    /// `use_slice` gets a flat slice of the stored kind, and the index of its first element.
    pub(super) fn each(
        &mut self,
        item: &Item<'_>,
        tally: &mut Tally<'_>,
        mut use_slice: impl FnMut(Tensor, i64) -> Result<(), tch::TchError>,
    ) -> Result<(), WeightsError> {
        let element = item.stored.elt_size_in_bytes() as u64;
        let per_slice = SLICE_BYTES / element;
        let elements = item.info.elements();
        let mut begin = 0;
        while begin < elements {
            let count = per_slice.min(elements - begin);
            let slice = self.slice(item, item.info.range.start + begin * element, count);
            use_slice(slice.map_err(|cause| item.failed(cause))?, begin as i64)
                .map_err(|error| item.failed(error))?;
            begin += count;
            tally.add(count * element, 0)?;
        }
        Ok(())
    }

    /// Converts `count` elements from `begin` on into `target` at `offset`.
    fn convert(
        &mut self,
        item: &Item<'_>,
        begin: u64,
        count: u64,
        target: &Arc<Region>,
        offset: usize,
    ) -> Result<(), Cause> {
        let stored = self.slice(
            item,
            item.info.range.start + begin * item.stored.elt_size_in_bytes() as u64,
            count,
        )?;
        let mut done = 0;
        while done < count {
            let piece = SERIAL_ELEMENTS.min(count - done);
            let offset = offset + done as usize * item.wanted.elt_size_in_bytes();
            shim::view(target, offset, &[piece as i64], item.wanted)?
                .f_copy_(&stored.f_narrow(0, done as i64, piece as i64)?)?;
            done += piece;
        }
        Ok(())
    }

    fn slice(&mut self, item: &Item<'_>, offset: u64, count: u64) -> Result<Tensor, Cause> {
        let element = item.stored.elt_size_in_bytes() as u64;
        let shape = [count as i64];
        if let (Some(region), true) = (&item.source.region, offset.is_multiple_of(element)) {
            return Ok(shim::view(region, offset as usize, &shape, item.stored)?);
        }
        let mut buffer = match self.buffer.take().map(Arc::try_unwrap) {
            Some(Ok(buffer)) => buffer,
            // The first slice, or one that its user kept.
            _ => Region::anonymous(SLICE_BYTES as usize)?,
        };
        buffer.fill(0..(count * element) as usize, &item.source.file, offset)?;
        let buffer = self.buffer.insert(Arc::new(buffer));
        Ok(shim::view(buffer, 0, &shape, item.stored)?)
    }
}

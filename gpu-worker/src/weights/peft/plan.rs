//! Which of an adapter's tensors belong to which layer of a model, and what becomes of it.

use std::collections::{BTreeMap, HashMap};

use tch::{Device, Kind, Tensor};

use super::{Config, PeftError};
use crate::weights::{Checkpoint, Module, OF_ANY_MODEL, rename};

/// What stands before every path.
const PREFIX: &str = "base_model.model.";

/// What an adapter does to one layer. All tensors have the model's device and kind.
#[derive(Debug)]
pub enum Part {
    /// Added to its product: `down` is `[rank, in]`, `up` is `[out, rank]` with the scale in it. Of a convolution they are
    /// `[rank, in, kernel, kernel]` and `[out, rank, 1, 1]`.
    LowRank { down: Tensor, up: Tensor },
    /// It was trained as a whole: `weight` is `[out, in]` and takes the place of its own, as `bias` does.
    Whole { weight: Tensor, bias: Option<Tensor> },
}

impl Part {
    /// The same on a model's device.
    #[must_use]
    pub fn to_device(self, device: Device) -> Self {
        match self {
            Self::LowRank { down, up } => {
                Self::LowRank { down: down.to_device(device), up: up.to_device(device) }
            }
            Self::Whole { weight, bias } => Self::Whole {
                weight: weight.to_device(device),
                bias: bias.map(|bias| bias.to_device(device)),
            },
        }
    }
}

/// The layers of an adapter, by the paths under which it was trained.
#[derive(Clone, Debug)]
pub struct Plan {
    layers: BTreeMap<String, Layer>,
}

/// The names of one layer's tensors.
#[derive(Clone, Debug)]
enum Layer {
    LowRank { down: String, up: String, scale: f64 },
    Whole { weight: String, bias: Option<String> },
}

/// Names and shapes of one layer's tensors, as they are found.
#[derive(Default)]
struct Found<'a> {
    down: Option<(&'a str, &'a [i64])>,
    up: Option<(&'a str, &'a [i64])>,
    weight: Option<&'a str>,
    bias: Option<&'a str>,
}

impl Plan {
    /// Sorts an adapter's tensors, given by name and shape, and checks what can be checked without the model.
    pub fn new<'a>(
        config: &Config,
        tensors: impl IntoIterator<Item = (&'a str, &'a [i64])>,
    ) -> Result<Self, PeftError> {
        let mut found: BTreeMap<&str, Found> = BTreeMap::new();
        for (name, shape) in tensors {
            let unknown = || PeftError::Tensor { name: name.to_owned() };
            let path = name.strip_prefix(PREFIX).ok_or_else(unknown)?;
            if let Some(path) = path.strip_suffix(".lora_A.weight") {
                found.entry(path).or_default().down = Some((name, shape));
            } else if let Some(path) = path.strip_suffix(".lora_B.weight") {
                found.entry(path).or_default().up = Some((name, shape));
            } else {
                let (path, last) = path.rsplit_once('.').ok_or_else(unknown)?;
                let is_whole = config.whole.iter().any(|part| is_below(path, part));
                match last {
                    "weight" if is_whole => found.entry(path).or_default().weight = Some(name),
                    "bias" if is_whole => found.entry(path).or_default().bias = Some(name),
                    _ => return Err(unknown()),
                }
            }
        }
        let layers = found.into_iter().map(|(path, found)| {
            let layer = found.layer(config, path)?;
            Ok((path.to_owned(), layer))
        });
        let layers = layers.collect::<Result<BTreeMap<_, _>, PeftError>>()?;
        if layers.is_empty() { Err(PeftError::Empty) } else { Ok(Self { layers }) }
    }

    /// What becomes of the layers of a model, by their places among its modules. `tensors` are the adapter's, in memory
    /// that nobody else has: the scale is put into them.
    pub fn parts(
        &self,
        mut tensors: HashMap<String, Tensor>,
        model: &Checkpoint,
    ) -> Result<HashMap<usize, Part>, PeftError> {
        let modules = model.modules();
        let linear = modules.iter().enumerate().filter(|(_, module)| module.kernel.is_none());
        let places: HashMap<&str, usize> =
            linear.map(|(at, module)| (module.name.as_str(), at)).collect();
        // As tensors are named, so that the model's own rules fit.
        let names = self.layers.keys().map(|path| format!("{path}.weight")).collect();
        let names = rename::renamed(OF_ANY_MODEL.iter().chain(model.renames()), names);
        let mut parts = HashMap::new();
        for ((path, layer), name) in self.layers.iter().zip(&names) {
            let no_module = || PeftError::NoModule { module: path.clone() };
            let name = name.strip_suffix(".weight").ok_or_else(no_module)?;
            let &place = places.get(name).ok_or_else(no_module)?;
            let part = layer.part(path, &modules[place], &mut tensors)?;
            if parts.insert(place, part).is_some() {
                return Err(no_module());
            }
        }
        Ok(parts)
    }
}

impl Found<'_> {
    fn layer(self, config: &Config, path: &str) -> Result<Layer, PeftError> {
        let half = |found: &str, missing: &str| {
            let name = |end: &str| format!("{PREFIX}{path}.{end}");
            Err(PeftError::Half { found: name(found), missing: name(missing) })
        };
        match self {
            Self { down: Some(_), weight: Some(name), .. }
            | Self { down: Some(_), bias: Some(name), .. } => {
                Err(PeftError::Tensor { name: name.to_owned() })
            }
            Self { down: Some((down, down_shape)), up: Some((up, up_shape)), .. } => {
                if !config.targets(path)? {
                    return Err(PeftError::NotTargeted { module: path.to_owned() });
                }
                let terms = config.terms(path)?;
                check_rank(down, down_shape, 0, terms.rank)?;
                check_rank(up, up_shape, 1, terms.rank)?;
                Ok(Layer::LowRank { down: down.to_owned(), up: up.to_owned(), scale: terms.scale })
            }
            Self { down: Some(_), .. } => half("lora_A.weight", "lora_B.weight"),
            Self { up: Some(_), .. } => half("lora_B.weight", "lora_A.weight"),
            Self { weight: Some(weight), bias, .. } => {
                Ok(Layer::Whole { weight: weight.to_owned(), bias: bias.map(str::to_owned) })
            }
            Self { .. } => half("bias", "weight"),
        }
    }
}

impl Layer {
    fn part(
        &self,
        path: &str,
        module: &Module,
        tensors: &mut HashMap<String, Tensor>,
    ) -> Result<Part, PeftError> {
        let (in_dim, out_dim) = (module.in_dim, module.out_dim);
        if module.is_fixed {
            return Err(PeftError::Fixed { module: path.to_owned() });
        }
        match self {
            Self::LowRank { down: down_name, up: up_name, scale } => {
                let down = take(tensors, down_name, &[-1, in_dim])?;
                let mut up = take(tensors, up_name, &[out_dim, down.size()[0]])?;
                if *scale != 1.0 {
                    up = up
                        .f_mul_scalar_(*scale)
                        .map_err(|source| PeftError::Torch { name: up_name.clone(), source })?;
                }
                Ok(Part::LowRank { down, up })
            }
            Self::Whole { weight, bias } => {
                let shape =
                    if module.is_transposed { [in_dim, out_dim] } else { [out_dim, in_dim] };
                let weight = take(tensors, weight, &shape)?;
                let weight = if module.is_transposed { weight.tr() } else { weight };
                let bias = bias.as_ref().map(|name| take(tensors, name, &[out_dim])).transpose()?;
                Ok(Part::Whole { weight, bias })
            }
        }
    }
}

/// The tensor of that name and shape; -1 stands for any size.
pub(in crate::weights) fn take(
    tensors: &mut HashMap<String, Tensor>,
    name: &str,
    expected: &[i64],
) -> Result<Tensor, PeftError> {
    let unknown = || PeftError::Tensor { name: name.to_owned() };
    let tensor = tensors.remove(name).ok_or_else(unknown)?;
    if !matches!(tensor.kind(), Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double) {
        return Err(unknown());
    }
    let found = tensor.size();
    let fits = found.len() == expected.len()
        && found.iter().zip(expected).all(|(&found, &wanted)| wanted == -1 || found == wanted);
    if fits {
        return Ok(tensor);
    }
    let expected = expected.to_vec();
    Err(PeftError::Shape { name: name.to_owned(), found, expected })
}

fn check_rank(name: &str, shape: &[i64], dimension: usize, rank: i64) -> Result<(), PeftError> {
    let expected: Vec<i64> = (0..2)
        .map(|at| if at == dimension { rank } else { shape.get(at).copied().unwrap_or(-1) })
        .collect();
    if shape.len() == 2 && shape[dimension] == rank {
        return Ok(());
    }
    Err(PeftError::Rank { name: name.to_owned(), found: shape.to_vec(), expected })
}

/// Whether `part` is a whole part of the path, or the parts of it that stand one after the other.
fn is_below(path: &str, part: &str) -> bool {
    format!(".{path}.").contains(&format!(".{part}."))
}

//! Which of a file's tensors belong to which layer of a pipeline, and what becomes of it.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};
use tch::Tensor;

use super::{
    METADATA,
    names::{self, Layer, Role},
    original::Original,
};
use crate::weights::{
    Checkpoint, Module, OF_ANY_MODEL, Rename,
    peft::{Config, Part, PeftError, take},
    rename,
};

/// The layers of an adapter, as its file spells them.
#[derive(Clone, Debug)]
pub struct Plan {
    layers: BTreeMap<Layer, Halves>,
}

/// The names of one layer's tensors.
#[derive(Clone, Debug)]
struct Halves {
    down: String,
    up: String,
    rank: i64,
    scale: Scale,
}

/// What the product of both halves is multiplied with.
#[derive(Clone, Debug)]
enum Scale {
    Of(f64),
    /// The value of this tensor, divided by the rank.
    Alpha(String),
}

/// Names and shapes of one layer's tensors, as they are found.
#[derive(Default)]
struct Found<'a> {
    down: Option<(&'a str, &'a [i64])>,
    up: Option<(&'a str, &'a [i64])>,
    alpha: Option<&'a str>,
}

impl Plan {
    /// Sorts a file's tensors, given by name and shape, and checks what can be checked without the model. `settings`: what
    /// the file's header has as [`METADATA`].
    pub fn new<'a>(
        tensors: impl IntoIterator<Item = (&'a str, &'a [i64])>,
        settings: Option<&str>,
    ) -> Result<Self, PeftError> {
        let configs = settings.map(configs).transpose()?;
        let mut found: BTreeMap<Layer, Found> = BTreeMap::new();
        for (name, shape) in tensors {
            let unknown = || PeftError::File { name: name.to_owned() };
            let (layer, role) = names::read(name).ok_or_else(unknown)?;
            let of_layer = found.entry(layer).or_default();
            let is_known = match role {
                Role::Down => of_layer.down.replace((name, shape)).is_some(),
                Role::Up => of_layer.up.replace((name, shape)).is_some(),
                Role::Alpha if shape.iter().product::<i64>() != 1 => return Err(unknown()),
                Role::Alpha => of_layer.alpha.replace(name).is_some(),
            };
            if is_known {
                return Err(PeftError::Twice { name: name.to_owned() });
            }
        }
        let layers = found.into_iter().map(|(layer, found)| {
            let halves = found.halves(&layer, configs.as_ref())?;
            Ok((layer, halves))
        });
        let layers = layers.collect::<Result<BTreeMap<_, _>, PeftError>>()?;
        if layers.is_empty() { Err(PeftError::Empty) } else { Ok(Self { layers }) }
    }

    /// What becomes of the layers of a model, by their places among its modules. `tensors` are the file's, in memory that
    /// nobody else has: the scale is put into them.
    pub fn parts(
        &self,
        mut tensors: HashMap<String, Tensor>,
        model: &Checkpoint,
    ) -> Result<HashMap<usize, Part>, PeftError> {
        let modules = model.modules();
        let places = Places::of(&modules);
        let mut parts = HashMap::new();
        for (layer, halves) in &self.layers {
            let no_layer = || PeftError::NoLayer { name: halves.down.clone() };
            let place = places.find(layer, model.renames()).ok_or_else(no_layer)?;
            let part = halves.part(&modules[place], &mut tensors)?;
            if parts.insert(place, part).is_some() {
                return Err(PeftError::Twice { name: halves.down.clone() });
            }
        }
        Ok(parts)
    }
}

/// Where the layers of a model are, by all spellings.
struct Places<'a> {
    paths: HashMap<&'a str, usize>,
    /// By component and flat path.
    flat: HashMap<(&'a str, String), usize>,
}

impl<'a> Places<'a> {
    fn of(modules: &'a [Module]) -> Self {
        let named = || modules.iter().enumerate().map(|(at, module)| (module.name.as_str(), at));
        let split =
            || named().filter_map(|(name, at)| name.split_once('.').map(|split| (split, at)));
        let flatly = |path: &str| path.replace('.', "_");
        let of_unet =
            split().filter(|((component, _), _)| *component == "unet").map(|((_, path), _)| path);
        let original = Original::of(of_unet);
        let published = split().filter(|((component, _), _)| *component == "unet").filter_map(
            |((component, path), at)| Some(((component, flatly(&original.name(path)?)), at)),
        );
        let own = split().map(|((component, path), at)| ((component, flatly(path)), at));
        Self { paths: named().collect(), flat: published.chain(own).collect() }
    }

    fn find(&self, layer: &Layer, renames: &[Rename]) -> Option<usize> {
        match layer {
            Layer::Flat { component, path } => self.flat.get(&(*component, path.clone())).copied(),
            Layer::Path(path) => {
                // As tensors are named, so that the model's own rules fit.
                let names = vec![format!("{path}.weight")];
                let renamed = rename::renamed(OF_ANY_MODEL.iter().chain(renames), names).pop()?;
                self.paths.get(renamed.strip_suffix(".weight")?).copied()
            }
        }
    }
}

impl Found<'_> {
    fn halves(
        self,
        layer: &Layer,
        configs: Option<&BTreeMap<String, Config>>,
    ) -> Result<Halves, PeftError> {
        let (Some((down, down_shape)), Some((up, up_shape))) = (self.down, self.up) else {
            let found = self.down.or(self.up).map(|(name, _)| name).or(self.alpha);
            let found = found.unwrap_or_default().to_owned();
            return Err(PeftError::Alone { found });
        };
        let rank = down_shape.first().copied().unwrap_or(0);
        let mut expected = vec![up_shape.first().copied().unwrap_or(-1), rank];
        expected.resize(down_shape.len(), 1);
        // Of a linear layer or of a convolution.
        if ![2, 4].contains(&down_shape.len()) || rank == 0 || up_shape != expected {
            let (name, found) = (up.to_owned(), up_shape.to_vec());
            return Err(PeftError::Rank { name, found, expected });
        }
        let config =
            layer.path().and_then(|(component, path)| Some((configs?.get(component)?, path)));
        let scale = match (self.alpha, config) {
            (None, None) => Scale::Of(1.0),
            (Some(alpha), None) => Scale::Alpha(alpha.to_owned()),
            (None, Some((config, path))) => {
                if !config.targets(path)? {
                    return Err(PeftError::NotTargeted { module: path.to_owned() });
                }
                let terms = config.terms(path)?;
                if terms.rank != rank {
                    let expected = [vec![terms.rank], down_shape[1..].to_vec()].concat();
                    let (name, found) = (down.to_owned(), down_shape.to_vec());
                    return Err(PeftError::Rank { name, found, expected });
                }
                Scale::Of(terms.scale)
            }
            (Some(alpha), Some(_)) => {
                let why = format!("says the scale that {alpha} says too");
                return Err(PeftError::Invalid { field: METADATA.to_owned(), why });
            }
        };
        Ok(Halves { down: down.to_owned(), up: up.to_owned(), rank, scale })
    }
}

impl Halves {
    fn part(
        &self,
        module: &Module,
        tensors: &mut HashMap<String, Tensor>,
    ) -> Result<Part, PeftError> {
        let &Module { in_dim, out_dim, kernel, is_fixed, .. } = module;
        if is_fixed {
            return Err(PeftError::Fixed { module: module.name.clone() });
        }
        let (mut down, mut up) = (vec![self.rank, in_dim], vec![out_dim, self.rank]);
        if let Some(kernel) = kernel {
            down.extend([kernel; 2]);
            up.extend([1; 2]);
        }
        let down = take(tensors, &self.down, &down)?;
        let mut up = take(tensors, &self.up, &up)?;
        let scale = match &self.scale {
            Scale::Of(scale) => *scale,
            Scale::Alpha(name) => alpha(tensors, name)? / self.rank as f64,
        };
        if scale != 1.0 {
            up = up
                .f_mul_scalar_(scale)
                .map_err(|source| PeftError::Torch { name: self.up.clone(), source })?;
        }
        Ok(Part::LowRank { down, up })
    }
}

/// The one value of that tensor.
fn alpha(tensors: &mut HashMap<String, Tensor>, name: &str) -> Result<f64, PeftError> {
    let tensor = tensors.remove(name).filter(|tensor| tensor.numel() == 1);
    let value = tensor.map(|tensor| tensor.reshape([1]).double_value(&[0]));
    value.filter(|value| value.is_finite()).ok_or_else(|| PeftError::File { name: name.to_owned() })
}

/// The settings of every component: `{"unet.r": 4, "text_encoder.r": 8, …}`.
fn configs(text: &str) -> Result<BTreeMap<String, Config>, PeftError> {
    let fields: Map<String, Value> = serde_json::from_str(text)?;
    let mut by_component: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (name, value) in fields {
        let Some((component, field)) = name.split_once('.') else {
            let why = format!("names no component before {name}");
            return Err(PeftError::Invalid { field: METADATA.to_owned(), why });
        };
        let fields = by_component.entry(component.to_owned()).or_default();
        fields.insert(field.to_owned(), value);
    }
    let parse = |(component, fields): (String, Map<String, Value>)| {
        let config = Config::parse(Value::Object(fields).to_string().as_bytes())?;
        Ok((component, config))
    };
    by_component.into_iter().map(parse).collect()
}
